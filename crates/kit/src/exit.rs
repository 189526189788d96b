//! The exit codes of every Baft program.

use std::process::{ExitCode, Termination};

/// How a program ended; the numbers are the same for every binary (`sysexits.h` where it has one).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All went well.
    Ok = 0,
    /// Something failed while running; the log says what.
    Failure = 1,
    /// The command line was not understood.
    Usage = 2,
    /// What was to be checked could not be found out.
    Undecided = 3,
    /// Only warnings, where they were to count.
    Warned = 4,
    /// Nothing is wrong here, but something needed is not there yet: try again later (`EX_TEMPFAIL`).
    TryAgain = 75,
    /// The configuration is wrong; starting again without changing it is useless (`EX_CONFIG`).
    Config = 78,
}

impl Exit {
    /// The number the operating system sees.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_codes_are_those_scripts_and_charts_rely_on() {
        let codes = [Exit::Ok, Exit::Failure, Exit::Usage, Exit::Undecided, Exit::Warned, Exit::TryAgain, Exit::Config];
        assert_eq!(codes.map(Exit::code), [0, 1, 2, 3, 4, 75, 78]);
    }
}
