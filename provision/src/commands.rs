//! One file per verb.

#[cfg(feature = "operate")]
pub(crate) mod backup;
#[cfg(feature = "operate")]
pub(crate) mod compare;
#[cfg(feature = "operate")]
pub(crate) mod doctor;
pub(crate) mod fuzz;
#[cfg(feature = "operate")]
pub(crate) mod hosts;
#[cfg(feature = "operate")]
pub(crate) mod image;
#[cfg(feature = "operate")]
pub(crate) mod init;
pub(crate) mod mutants;
#[cfg(feature = "operate")]
pub(crate) mod stack;
pub(crate) mod test;
#[cfg(feature = "operate")]
pub(crate) mod tune;
#[cfg(feature = "operate")]
pub(crate) mod upgrade;
#[cfg(feature = "operate")]
pub(crate) mod wait;
#[cfg(feature = "operate")]
pub(crate) mod watch;
