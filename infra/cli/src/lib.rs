//! The stack on this machine, and a client of any stack: the parts of the `fresco` command, which suites over whole stacks use, too.

pub mod api;
pub mod clock;
pub mod local_outputs;
pub mod names;
pub mod stack;
pub mod view;
