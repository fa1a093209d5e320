//! Progress bars, one per kind. Without a terminal there are none.

use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::JoinHandle;

use super::ledger::{KINDS, Ledger, Tally};

/// How often they are drawn.
const EVERY: Duration = Duration::from_millis(60);

/// The bars, while the demo runs.
pub(super) struct Progress {
    bars: Vec<ProgressBar>,
    ledger: Arc<Ledger>,
    drawing: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn start(ledger: &Arc<Ledger>, terminal: bool) -> Self {
        let ledger = ledger.clone();
        if !terminal {
            return Self { bars: Vec::new(), ledger, drawing: None };
        }
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{prefix:13} {bar:40} {pos:>7}/{len:<7} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bars: Vec<_> = KINDS
            .iter()
            .map(|kind| {
                let bar = all.add(ProgressBar::new(0).with_style(style.clone()));
                bar.set_prefix(*kind);
                bar
            })
            .collect();
        let (watched, shown) = (ledger.clone(), bars.clone());
        let drawing = actix_rt::spawn(async move {
            loop {
                draw(&shown, &watched.tally());
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { bars, ledger, drawing: Some(drawing) }
    }

    /// Draws a last time and leaves the bars where they are.
    pub(super) fn finish(self) {
        if let Some(drawing) = self.drawing {
            drawing.abort();
            draw(&self.bars, &self.ledger.tally());
            self.bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

fn draw(bars: &[ProgressBar], tally: &Tally) {
    for (bar, kind) in bars.iter().zip(tally.kinds) {
        bar.set_length(kind.enqueued);
        bar.set_position(kind.ended());
        if kind.archived > 0 {
            bar.set_message(format!("{} archived", kind.archived));
        }
    }
}
