//! Work on untrusted bytes in a separate process: it has limits of memory and time and can be killed, which a thread
//! can't.
//!
//! A child is this program, started again with two arguments that no help shows: `child` and the name of a [`Job`]. It
//! receives the bytes on standard input and answers with a bounded JSON document on standard output. Before it reads,
//! it confines itself (`confine`): on Linux it can't use more memory or processor time than the job may take, open or
//! write a file, connect, start a process or gain a privilege. Elsewhere the time limit of the parent always holds, and
//! on other Unix systems the limits that they enforce. Its environment is empty, and it never opens a vault.
//!
//! To add a job: a variant of [`Job`], its limits, and the function that does it.

use std::{
    ffi::{OsStr, OsString},
    io::{self, Read as _, Write as _},
    path::PathBuf,
    process::{ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::{Child, Command},
    sync::Semaphore,
    time::timeout,
};
use zeroize::Zeroizing;

use crate::{
    domain::{
        import,
        limits::{IMPORT_FILE_BYTES_MAX, IMPORT_KEY_FILE_BYTES_MAX, PASSPHRASE_BYTES_MAX, PICTURE_BYTES_MAX},
    },
    picture,
};

/// The first word of a child's command line.
const WORD: &str = "child";
/// The most children of one process at the same time; each may take a whole core.
const CHILDREN_MAX: usize = 2;
/// How long a job waits for its turn before it is refused as busy.
pub(crate) const TURN: Duration = Duration::from_secs(5);
/// Whether the system counts a child's processor time, and ends a child that has used up its own.
const CPU_IS_COUNTED: bool = cfg!(target_os = "linux");
/// The capacity of buffers for pipes, in bytes.
const PIECE: usize = 64 * 1024;
/// The factor of a time limit: an unoptimised build needs several times as long, and more beside other tests.
const SLOWER: u64 = if cfg!(debug_assertions) { 8 } else { 1 };
const MIB: u64 = 1024 * 1024;

/// What a child can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// Finds the QR codes in a picture's file. The answer is what [`picture::read`] returns.
    Picture,
    /// Reads a file of another program, with the keys that open it. The answer is what [`import::answer`] returns.
    Import,
}

/// The most that a job may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of memory beyond those that the program takes when it starts.
    pub memory: u64,
    /// Seconds, both of the clock and of the processor.
    pub seconds: u64,
    /// Bytes of input.
    pub input: usize,
    /// Bytes of the answer.
    pub answer: usize,
}

impl Limits {
    /// A picture: a small file can hold a huge one, or one that a reader would search for hours.
    pub const PICTURE: Self =
        Self { memory: 128 * MIB, seconds: 2 * SLOWER, input: PICTURE_BYTES_MAX, answer: 64 * 1024 };
    /// A file of another program, whose key derivation may be costly by design. The answer has room for ten thousand
    /// entries with the longest names and remarks, and for a hundred thousand usual ones.
    pub const IMPORT: Self = Self {
        memory: 1280 * MIB,
        seconds: 120,
        input: IMPORT_FILE_BYTES_MAX + IMPORT_KEY_FILE_BYTES_MAX + PASSPHRASE_BYTES_MAX + import::HEAD_BYTES,
        answer: 64 * 1024 * 1024,
    };

    /// How long the parent waits. Where the system counts processor time, a child that waits for its turn on a busy
    /// machine is not one that takes too long.
    const fn time(self) -> Duration {
        Duration::from_secs(if CPU_IS_COUNTED { self.seconds * 5 } else { self.seconds })
    }
}

impl Job {
    const ALL: [Self; 2] = [Self::Picture, Self::Import];

    /// The word for the job in a child's command line.
    const fn word(self) -> &'static str {
        match self {
            Self::Picture => "picture",
            Self::Import => "import",
        }
    }

    /// The limits of the job.
    pub const fn limits(self) -> Limits {
        match self {
            Self::Picture => Limits::PICTURE,
            Self::Import => Limits::IMPORT,
        }
    }

    /// Does the job in the child, and writes its answer.
    fn answer(self, input: &[u8], out: &mut impl io::Write) -> io::Result<()> {
        match self {
            Self::Picture => serde_json::to_writer(out, &picture::read(input))?,
            Self::Import => serde_json::to_writer(out, &import::answer(input))?,
        }
        Ok(())
    }
}

/// Why a job has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// Other jobs had all the turns during the whole wait.
    #[error("too many files are being read at the moment; try again in a few seconds")]
    Busy,
    /// The input is larger than the job takes.
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    /// No process could be started.
    #[error("no process could be started to read it: {0}")]
    Start(#[source] io::Error),
    /// The child had no answer in time and was killed. Where the system counts processor time, the child had not used up
    /// its own, so it had to wait for others.
    #[error("it was not read within {} seconds{}", .0.time().as_secs(), if CPU_IS_COUNTED { ", because the machine is busy; try again later" } else { "" })]
    OutOfTime(Limits),
    /// The child ended without an answer: it used up its memory or processor time, panicked, or was killed.
    #[error("it can't be read within its limits of {} MiB and {} seconds", .0.memory / MIB, .0.seconds)]
    Died(Limits),
    /// The child's answer is too long or not of the form that the job gives.
    #[error("the process that read it gave an answer that makes no sense")]
    Answer,
}

/// Starts children, a few at a time. Clones share the turns.
#[derive(Debug, Clone)]
pub struct Children {
    program: PathBuf,
    turns: Arc<Semaphore>,
}

impl Children {
    /// Children that run the program of this process.
    pub fn new() -> Self {
        // On Linux, this name still leads to the running program after an update replaced its file.
        let running = PathBuf::from("/proc/self/exe");
        let is_there = cfg!(target_os = "linux") && running.exists();
        Self::of(if is_there { running } else { std::env::current_exe().unwrap_or_default() })
    }

    /// Children that run `program`.
    pub fn of(program: PathBuf) -> Self {
        Self { program, turns: Arc::new(Semaphore::new(CHILDREN_MAX)) }
    }

    /// Has a child do a job on the input, whose parts it receives one after the other, and returns its answer. The
    /// caller checks the contents of the answer: the input may have taken over the child. If this future is dropped,
    /// the child is killed.
    ///
    /// # Errors
    /// [`ChildError`]: there was no turn, no process, or no answer within the limits.
    pub async fn run<A: DeserializeOwned>(&self, job: Job, input: &[&[u8]]) -> Result<A, ChildError> {
        self.run_after(TURN, job, input).await
    }

    /// [`Self::run`], for a caller that has already waited for something else: it waits for its turn for `wait` at
    /// most.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub(crate) async fn run_after<A: DeserializeOwned>(
        &self,
        wait: Duration,
        job: Job,
        input: &[&[u8]],
    ) -> Result<A, ChildError> {
        let limits = job.limits();
        if input.iter().map(|part| part.len()).sum::<usize>() > limits.input {
            return Err(ChildError::TooLarge(limits.input));
        }
        let turn = timeout(wait, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else { return Err(ChildError::Busy) };
        let mut child = self.command(job).spawn().map_err(ChildError::Start)?;
        let answered = timeout(limits.time(), answer_of(&mut child, input, limits)).await;
        let answered = answered.unwrap_or(Err(ChildError::OutOfTime(limits)));
        if answered.is_err() {
            // Kills and reaps it, so that the turn is free only when the child is gone.
            let _ = child.kill().await;
        }
        serde_json::from_slice(&answered?).map_err(|_| ChildError::Answer)
    }

    fn command(&self, job: Job) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(WORD).arg(job.word()).env_clear().kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        command.arg0("countersign").current_dir("/");
        command
    }
}

impl ChildError {
    /// Whether the machine had no time for the job, and the input may be fine.
    pub(crate) const fn is_of_a_busy_machine(&self) -> bool {
        CPU_IS_COUNTED && matches!(self, Self::OutOfTime(_)) || matches!(self, Self::Busy)
    }
}

impl Default for Children {
    fn default() -> Self {
        Self::new()
    }
}

/// Passes the child its input, and reads its answer to the end.
async fn answer_of(child: &mut Child, input: &[&[u8]], limits: Limits) -> Result<Zeroizing<Vec<u8>>, ChildError> {
    if let Some(mut to) = child.stdin.take() {
        for part in input {
            // A child that died reads no more input; its exit status shows that it died.
            let _ = to.write_all(part).await;
        }
    }
    let mut answer = Zeroizing::new(Vec::with_capacity(limits.answer.min(PIECE) + 64));
    if let Some(from) = child.stdout.take() {
        let most = u64::try_from(limits.answer).unwrap_or(u64::MAX);
        let _ = from.take(most + 1).read_to_end(&mut answer).await;
    }
    if answer.len() > limits.answer {
        return Err(ChildError::Answer);
    }
    match child.wait().await {
        Ok(status) if status.success() => Ok(answer),
        Ok(_) | Err(_) => Err(ChildError::Died(limits)),
    }
}

/// Does the job of a child and returns its exit status, if these words started one.
pub fn of_words(words: &[OsString]) -> Option<ExitCode> {
    let [_, word, job] = words else { return None };
    let job =
        Job::ALL.into_iter().find(|known| job == known.word()).filter(|_| word.as_os_str() == OsStr::new(WORD))?;
    Some(match work(job) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn work(job: Job) -> io::Result<()> {
    let limits = job.limits();
    confine(limits)?;
    // Room for the first piece, so that the data bypasses the reader's own buffer, which is not wiped.
    let mut input = Zeroizing::new(Vec::with_capacity(PIECE));
    let most = u64::try_from(limits.input).unwrap_or(u64::MAX);
    io::stdin().lock().take(most + 1).read_to_end(&mut input)?;
    if input.len() > limits.input {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let mut out = io::BufWriter::with_capacity(PIECE, io::stdout().lock());
    job.answer(&input, &mut out)?;
    out.flush()
}

/// Gives up, for good, the rights and resources that the job does not need.
#[cfg(unix)]
fn confine(limits: Limits) -> io::Result<()> {
    use rustix::process::{Resource, nice};

    #[cfg(target_os = "linux")]
    {
        use rustix::{
            process::{Signal, set_parent_process_death_signal},
            thread::set_no_new_privs,
        };
        // Linux limits the address space, of which a program uses much when it starts, so its size is read first.
        limit(Resource::As, addresses().saturating_add(limits.memory))?;
        set_no_new_privs(true)?;
        // Sent when the thread that started the child ends; `Children::run` must be polled on one that lasts, as those of
        // the runtime do.
        set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    limit(Resource::Core, 0)?;
    limit(Resource::Fsize, 0)?;
    limit(Resource::Cpu, limits.seconds)?;
    limit(Resource::Nproc, 0)?;
    // No file and no connection can be opened from here on; the streams that are open stay so.
    limit(Resource::Nofile, 0)?;
    // Calls of the server have priority.
    let _ = nice(10);
    Ok(())
}

#[cfg(not(unix))]
fn confine(_: Limits) -> io::Result<()> {
    // Without unsafe code, the parent's time limit is the only one.
    Ok(())
}

#[cfg(unix)]
fn limit(what: rustix::process::Resource, most: u64) -> io::Result<()> {
    use rustix::process::{Rlimit, getrlimit, setrlimit};

    // A hard limit that is lower already can't be raised.
    let most = getrlimit(what).maximum.map_or(most, |hard| hard.min(most));
    Ok(setrlimit(what, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// The size of the process's address space now, in bytes.
#[cfg(target_os = "linux")]
fn addresses() -> u64 {
    /// A generous estimate of its size when the program starts, for systems without `/proc`.
    const USUAL: u64 = 64 * MIB;

    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map_or(USUAL, |kib| kib.saturating_mul(1024))
}
