//! The engine against real remotes, in this process: what it promises, and what it does when everything goes wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod basics;
mod child;
mod data;
mod disks;
mod kill;
mod people;
mod power;
mod remotes;
mod schemas;
mod support;
mod users;
