//! What the program is asked on its command line.

use std::time::Duration;

use nix::libc;
use oncue::{Limits, Network};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// A deed and how it is caged.
pub struct Ask {
    pub deed: String,
    pub word: String,
    pub limits: Limits,
    pub recycle: u32,
    pub runs: usize,
    pub times: u64,
    /// ms a run may take; 0: any.
    pub timeout: u64,
    /// ms a shutdown waits for runs.
    pub patience: u64,
    /// Shuts down while the deed runs.
    pub leave: bool,
    /// Ends the run from outside once the deed has made so many processes, its keeper included.
    pub cut: Option<(Cut, usize)>,
    pub inplace: bool,
    /// How many descendants the program has once all is done, before it ends its worker.
    pub after: Option<usize>,
    /// How many children of its own the program may have at its end.
    pub leftovers: usize,
    /// Left open, and in the environment, for children to find.
    pub secret: Option<String>,
}

/// How a run is ended from outside.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    Cancel,
    /// The broker says that the lease is lost.
    Lease,
    /// By its deadline.
    Deadline,
}

impl Ask {
    pub fn read() -> Self {
        let mut words = std::env::args().skip(1);
        let mut ask = Self {
            deed: words.next().unwrap_or_default(),
            word: String::new(),
            limits: Limits { cpu: Some(Duration::from_secs(20)), ..Limits::default() },
            recycle: 1,
            runs: 2,
            times: 1,
            timeout: 0,
            patience: 25_000,
            leave: false,
            cut: None,
            inplace: false,
            after: None,
            leftovers: 0,
            secret: None,
        };
        for word in words {
            ask.set(&word);
        }
        ask
    }

    fn set(&mut self, word: &str) {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let number = || value.parse::<u64>().unwrap_or_else(|_| panic!("{word}: no number"));
        let ms = || Some(Duration::from_millis(number()));
        let count = || usize::try_from(number()).expect("fits");
        let limits = &mut self.limits;
        match name {
            "word" => self.word = value.to_owned(),
            "cpu" => limits.cpu = ms(),
            "wall" => limits.wall = ms(),
            "memory" => limits.memory = number(),
            "files" => limits.files = number(),
            "file_size" => limits.file_size = number(),
            "processes" => limits.processes = u32::try_from(number()).expect("fits"),
            "network" if value == "all" => limits.network = Network::All,
            "network" => limits.network = Network::Unix,
            "read" => limits.read.push(value.into()),
            "write" => limits.write.push(value.into()),
            "required" => limits.required = true,
            "metadata" => limits.metadata = true,
            "recycle" => self.recycle = u32::try_from(number()).expect("fits"),
            "runs" => self.runs = count(),
            "times" => self.times = number(),
            "timeout" => self.timeout = number(),
            "patience" => self.patience = number(),
            "leave" => self.leave = true,
            "cancel" => self.cut = Some((Cut::Cancel, count())),
            "lease" => self.cut = Some((Cut::Lease, count())),
            "deadline" => self.cut = Some((Cut::Deadline, count())),
            "after" => self.after = Some(count()),
            "inplace" => self.inplace = true,
            "leftovers" => self.leftovers = count(),
            "unfiltered" => be_unfiltered(),
            "secret" => self.secret = Some(value.to_owned()),
            _ => panic!("{word}: no such option"),
        }
    }
}

/// Opens a file as careless programs do: whatever is started inherits it.
pub fn leak(path: &str) {
    let file = std::fs::File::open(path).expect("the secret");
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).expect("a flag");
    std::mem::forget(file);
}

/// From here on this process and all it starts are on a kernel that knows no filters.
fn be_unfiltered() {
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let rules = [(libc::SYS_seccomp, Vec::new())].into();
    let arch = std::env::consts::ARCH.try_into().expect("a filter is known");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, unknown, arch).expect("sound");
    let program: BpfProgram = filter.try_into().expect("compiles");
    seccompiler::apply_filter(&program).expect("the last one");
}
