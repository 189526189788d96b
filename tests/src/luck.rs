//! Repeatable luck for the kill loops, and the variables that steer them.

/// A small generator, so that a run that failed can be repeated from its seed.
#[derive(Debug)]
pub struct Luck(u64);

impl Luck {
    /// From a seed; zero counts as one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// A number from the environment.
#[must_use]
pub fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}
