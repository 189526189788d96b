//! What a daemon is told about getting into its remote: the flags, what they come to, and the logins somebody makes for us.
//!
//! git-sync and commit-agent share all of it; only the variables are called differently ([`Variables`]). Files are named here and read on every
//! use, so rotated secrets are picked up.

mod args;
mod login;
mod remote;

pub use args::{AccessArgs, Cookies, Variables, with_own_variables};
pub use login::{GithubApp, LoginConfig};
pub use remote::remote;
