//! When an actor that died is started again: intensity in a true sliding window, and backoff.
//!
//! Pure: time is an argument. A task's failure never gets here (Rule 0): only actors die.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many restarts are borne, and how long to wait before each.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Intensity {
    /// Restarts allowed within the window.
    pub max_restarts: usize,
    /// The window.
    pub within: Duration,
    /// Wait before the first restart; doubles with each restart in the window.
    pub backoff_min: Duration,
    /// Longest wait.
    pub backoff_max: Duration,
}

impl Intensity {
    /// Five restarts within 30 s, waiting 100 ms, doubling, at most 30 s.
    pub const DEFAULT: Self = Self {
        max_restarts: 5,
        within: Duration::from_secs(30),
        backoff_min: Duration::from_millis(100),
        backoff_max: Duration::from_secs(30),
    };
}

impl Default for Intensity {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The recent deaths of one child.
#[derive(Clone, Debug, Default)]
pub struct Window(VecDeque<Instant>);

impl Window {
    /// Counts a death at `now` and says how long to wait before the restart; none: the budget is used up
    /// and the count starts anew.
    pub fn next(&mut self, intensity: &Intensity, now: Instant) -> Option<Duration> {
        self.0.retain(|death| now.saturating_duration_since(*death) < intensity.within);
        if self.0.len() >= intensity.max_restarts {
            self.0.clear();
            return None;
        }
        let doublings = u32::try_from(self.0.len()).unwrap_or(u32::MAX).min(20);
        self.0.push_back(now);
        Some((intensity.backoff_min * 2u32.pow(doublings)).min(intensity.backoff_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_sixth_death_in_the_window_exceeds_the_budget() {
        let (mut window, start) = (Window::default(), Instant::now());
        let waits: Vec<_> =
            (0..6).map(|i| window.next(&Intensity::DEFAULT, start + MS(i))).collect();
        let expected = [100, 200, 400, 800, 1600].map(|ms| Some(MS(ms)));
        assert_eq!(waits[..5], expected);
        assert_eq!(waits[5], None);
        assert_eq!(window.next(&Intensity::DEFAULT, start + MS(7)), Some(MS(100)));
    }

    #[test]
    fn slow_steady_deaths_never_exceed_it() {
        let (mut window, start) = (Window::default(), Instant::now());
        for i in 0..100 {
            let wait = window.next(&Intensity::DEFAULT, start + Duration::from_secs(i * 31));
            assert_eq!(wait, Some(MS(100)), "death {i}");
        }
    }
}
