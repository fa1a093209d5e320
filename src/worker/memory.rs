//! How much memory this process uses. Only that: what is too much is for whoever asks to say.

/// Bytes of the resident set (proc_pid_statm(5)): what is in memory now, shared pages among it. None where the system
/// does not say.
pub(super) fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn what_is_touched_is_in_use() {
        const BYTES: usize = 64 << 20;
        let before = super::resident().expect("told");
        let touched = vec![1_u8; BYTES];
        let with = super::resident().expect("told");
        assert!(
            with >= before + BYTES as u64 / 2,
            "{before} before, {with} with {}",
            touched.len()
        );
    }
}
