-- A database of version 1 of the tables, as pg_dump writes it. Its log is that of format-1.
CREATE TABLE public.relay_account (
    number bigint NOT NULL,
    rev bigint,
    last_host_seq bigint,
    last_seq bigint NOT NULL,
    host integer NOT NULL,
    last_host integer,
    last_epoch integer,
    identity_checked_s integer NOT NULL,
    did bytea NOT NULL,
    repo bytea,
    signing_key bytea,
    upstream text NOT NULL
);
CREATE TABLE public.relay_decision (
    did bytea NOT NULL,
    local text NOT NULL
);
CREATE TABLE public.relay_host (
    id bigint NOT NULL,
    hostname text NOT NULL,
    secure bigint NOT NULL,
    status text NOT NULL,
    epoch bigint DEFAULT 0 NOT NULL,
    cursor_seq bigint,
    account_count bigint DEFAULT 0 NOT NULL,
    account_limit bigint NOT NULL,
    first_seen_ms bigint NOT NULL,
    ever_connected bigint DEFAULT 0 NOT NULL,
    last_error text,
    clean_commits bigint DEFAULT 0 NOT NULL,
    strict_for_good bigint DEFAULT 0 NOT NULL,
    cursor_reset_ms bigint DEFAULT 0 NOT NULL
);
CREATE TABLE public.relay_meta (
    name text NOT NULL,
    value text NOT NULL
);
CREATE TABLE public.relay_schema (
    version bigint NOT NULL,
    readable_from bigint NOT NULL
);
INSERT INTO public.relay_account VALUES (1, 1809639014411264000, 9, 0, 1, 1, 0, 1795705630, '\x7584a632097a2b3b7594e0da5fd2c6', '\x65c3cedcafa7fb5c7bef81467d84ae1f9aa1ae333855f5d2af3482f202d4b75496c4c7b9fa019214d5a987c268f8c78d0f429d6dbd5465ca4df65b1c0bf25d28', '\x020280ee1b3d70bdde885a2e59f79079de29ebdae82def9c684ab8c178f1db3c7ede', '');
INSERT INTO public.relay_account VALUES (2, 1809639014417408000, 9, 0, 2, 2, 0, 1795705630, '\x5b8a78bbcddaca6dc585a09041621e', '\xdfcaae7e2435fd92fbc62e0932662452090b68c7c65c377bd526d0dfa5c57fce33995d20ec6227ab4c6e14c4cce1a71effb378d028ac0639777d432bcf096189', '\x020373ed214e2a9fe4de4f3fb40cc4548d3fef7ccc960230832a39e94ac25685fc21', '');
INSERT INTO public.relay_decision VALUES ('\x5b8a78bbcddaca6dc585a09041621e', 'takendown');
INSERT INTO public.relay_host VALUES (1, 'pds-1.example.com', 1, 'banned', 0, 9, 1, 100, 1795705630923, 1, NULL, 2, 0, 0);
INSERT INTO public.relay_host VALUES (2, 'pds-2.example.com', 1, 'banned', 0, 9, 1, 100, 1795705630926, 1, NULL, 2, 0, 0);
INSERT INTO public.relay_host VALUES (3, 'localhost:1', 0, 'active', 0, 3, 0, 100, 1795705632923, 1, NULL, 0, 0, 0);
INSERT INTO public.relay_host VALUES (4, 'pds-4.example.com', 1, 'banned', 0, NULL, 0, 100, 1795705633923, 0, 'cannot resolve pds-4.example.com: the name has no address', 0, 0, 0);
INSERT INTO public.relay_meta VALUES ('checkpoint', '16');
INSERT INTO public.relay_meta VALUES ('instance_id', '3b048d97b01405a30499a6d902ef6d66');
INSERT INTO public.relay_schema VALUES (1, 1);
ALTER TABLE ONLY public.relay_account
    ADD CONSTRAINT relay_account_did_key UNIQUE (did);
ALTER TABLE ONLY public.relay_account
    ADD CONSTRAINT relay_account_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.relay_decision
    ADD CONSTRAINT relay_decision_pkey PRIMARY KEY (did);
ALTER TABLE ONLY public.relay_host
    ADD CONSTRAINT relay_host_hostname_key UNIQUE (hostname);
ALTER TABLE ONLY public.relay_host
    ADD CONSTRAINT relay_host_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.relay_meta
    ADD CONSTRAINT relay_meta_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.relay_schema
    ADD CONSTRAINT relay_schema_pkey PRIMARY KEY (version);
