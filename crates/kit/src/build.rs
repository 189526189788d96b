//! Which program this is, built from what.

use serde::Serialize;

/// Name, version and origin of a binary; made by [`build_info!`](crate::build_info).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct BuildInfo {
    /// The daemon's name as people know it: `git-sync`, not `baft-git-sync`.
    pub name: &'static str,
    /// The version of the workspace.
    pub version: &'static str,
    /// The git commit it was built from; `dev` for development builds.
    pub revision: &'static str,
    /// The compiler, as `rustc --version` prints it.
    pub rustc: &'static str,
}

/// The git commit this was built from: the variable `BAFT_REVISION` at build time, else what git says for release
/// builds, else `dev`.
pub const REVISION: &str = env!("BAFT_KIT_REVISION");

/// The compiler this was built with.
pub const RUSTC: &str = env!("BAFT_KIT_RUSTC");

impl BuildInfo {
    /// For the macro; `package` is the caller's package name, of which the prefix `baft-` is dropped.
    #[must_use]
    pub const fn of_package(package: &'static str, version: &'static str) -> Self {
        let name = match package.as_bytes() {
            [b'b', b'a', b'f', b't', b'-', ..] => package.split_at(5).1,
            _ => package,
        };
        Self { name, version, revision: REVISION, rustc: RUSTC }
    }
}

impl std::fmt::Display for BuildInfo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} ({}, {})", self.name, self.version, self.revision, self.rustc)
    }
}

/// The [`BuildInfo`](crate::build::BuildInfo) of the calling crate; `build_info!("name")` to call it something else.
#[macro_export]
macro_rules! build_info {
    () => {
        $crate::build::BuildInfo::of_package(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    };
    ($name:expr) => {
        $crate::build::BuildInfo::of_package($name, env!("CARGO_PKG_VERSION"))
    };
}

#[cfg(test)]
mod tests {
    use super::BuildInfo;

    #[test]
    fn the_package_prefix_is_no_part_of_a_daemons_name() {
        assert_eq!(BuildInfo::of_package("baft-git-sync", "1").name, "git-sync");
        assert_eq!(BuildInfo::of_package("baft", "1").name, "baft");
        assert_eq!(crate::build_info!().name, "kit");
    }
}
