//! The stack on this machine, and a client of any stack: what the `fresco` command and the whole-stack tests are made of.

pub mod api;
pub mod stack;
pub mod storage;
pub mod view;
