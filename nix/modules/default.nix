{
  relay = ./relay;
  stack = ./stack.nix;
  default = ./stack.nix;
}
