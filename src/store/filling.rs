//! Fills a place with a vault from elsewhere: its records and audit records are written unchanged, and only the last
//! step gives the vault the name by which [`open`](super::open()) finds it. A process that ends before that leaves
//! nothing that can be opened.

use std::path::Path;

use super::{
    AuditPut, Facts, Finders, OpenError, OpenRequest, Record, SharedStore, Snapshot,
    open::{Kind, blocking, kind_of},
    postgres, sqlite,
};

/// A place that is being filled. Dropping this empties the place again, unless it was [kept](Self::keep).
pub struct Filling(Target);

enum Target {
    File(Box<sqlite::filling::Filling>),
    Server(Box<postgres::filling::Filling>),
}

/// Finds a place for a vault, and writes nothing yet. `mark` identifies the operation and its vault: data that an
/// earlier process left under the same mark is replaced.
///
/// # Errors
/// [`OpenError`]: the place can't be used, or something is there.
pub async fn vacant(request: &OpenRequest, mark: &str) -> Result<Filling, OpenError> {
    let mark = mark.to_owned();
    match kind_of(&request.url)? {
        Kind::File(path) => {
            let request = request.clone();
            let found = blocking(move || sqlite::filling::Filling::vacant(&request, &path, &mark)).await?;
            Ok(Filling(Target::File(Box::new(found))))
        }
        Kind::Server => {
            let found = postgres::filling::Filling::vacant(request, mark).await?;
            Ok(Filling(Target::Server(Box::new(found))))
        }
    }
}

/// Finds a place that an earlier process filled under a mark with this prefix, but did not publish.
///
/// # Errors
/// [`OpenError`]: the place can't be used.
pub async fn unfinished(request: &OpenRequest, marks: &str) -> Result<Option<Filling>, OpenError> {
    let marks = marks.to_owned();
    Ok(match kind_of(&request.url)? {
        Kind::File(path) => {
            let request = request.clone();
            let found = blocking(move || sqlite::filling::Filling::unfinished(&request, &path, &marks)).await?;
            found.map(|found| Filling(Target::File(Box::new(found))))
        }
        Kind::Server => {
            let found = postgres::filling::Filling::unfinished(request, &marks).await?;
            found.map(|found| Filling(Target::Server(Box::new(found))))
        }
    })
}

/// A file for a copy of a vault that is on a server, in the private folder of this machine.
///
/// # Errors
/// [`OpenError`].
pub async fn scratch(request: &OpenRequest) -> Result<Filling, OpenError> {
    let request = request.clone();
    let found = blocking(move || sqlite::filling::Filling::scratch(&request)).await?;
    Ok(Filling(Target::File(Box::new(found))))
}

/// As [`scratch`], for the repair of a vault on a server.
///
/// # Errors
/// [`OpenError`].
pub async fn workpiece(request: &OpenRequest) -> Result<Filling, OpenError> {
    let request = request.clone();
    let found = blocking(move || sqlite::filling::Filling::workpiece(&request)).await?;
    Ok(Filling(Target::File(Box::new(found))))
}

/// The place of a vault on a server, whose content is to be replaced in one transaction. Other writers are kept away from here
/// on; readers see the old content until the new one is published.
///
/// # Errors
/// [`OpenError`]: the place can't be used, or others are writing.
pub async fn replacing(request: &OpenRequest) -> Result<Filling, OpenError> {
    match kind_of(&request.url)? {
        Kind::File(_) => Err(OpenError::NeedsServer),
        Kind::Server => {
            let found = postgres::filling::Filling::replacing(request).await?;
            Ok(Filling(Target::Server(Box::new(found))))
        }
    }
}

impl Filling {
    /// Where the vault will be.
    pub fn location(&self) -> &Path {
        match &self.0 {
            Target::File(file) => file.location(),
            Target::Server(server) => server.location(),
        }
    }

    /// Makes the place ready for records.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is there then.
    pub async fn begin(&mut self) -> Result<(), OpenError> {
        match &mut self.0 {
            Target::File(file) => file.begin().await,
            Target::Server(server) => server.begin().await,
        }
    }

    /// Adds records with their index entries, and audit records, regardless of their versions and numbers.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn add(&mut self, records: Vec<(Record, Finders)>, rows: Vec<AuditPut>) -> Result<(), OpenError> {
        match &mut self.0 {
            Target::File(file) => file.add(records, rows).await,
            Target::Server(server) => server.add(&records, &rows).await,
        }
    }

    /// Makes the added records durable, if they are not yet, and opens the vault to be examined.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn store(&mut self) -> Result<(SharedStore, Facts), OpenError> {
        match &mut self.0 {
            Target::File(file) => file.store().await,
            Target::Server(server) => server.store().await,
        }
    }

    /// Keeps the vault even if this process ends before it is published: [`unfinished`] finds it.
    pub fn keep(&mut self) {
        if let Target::File(file) = &mut self.0 {
            file.keep();
        }
    }

    /// Gives the vault its name, durably. This process must not have the vault open.
    ///
    /// # Errors
    /// [`OpenError`]; the vault has no name then or, if a server's answer is lost, may have it. Publishing can be tried
    /// again.
    pub async fn publish(self) -> Result<(), OpenError> {
        match self.0 {
            Target::File(file) => blocking(move || file.publish()).await,
            Target::Server(server) => server.publish().await,
        }
    }

    /// Removes what was filled. If that fails, the remains are no vault, and the next attempt replaces them.
    pub async fn abandon(self) {
        match self.0 {
            Target::File(file) => drop(file),
            Target::Server(server) => server.abandon().await,
        }
    }

    /// The finished file of [`scratch`], to be written to its place.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn into_snapshot(self) -> Result<Snapshot, OpenError> {
        match self.0 {
            Target::File(file) => Ok(file.into_snapshot()),
            Target::Server(_) => Err(OpenError::NeedsFile),
        }
    }

    /// The finished file of [`workpiece`], to be repaired.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn into_unlocked(self) -> Result<Snapshot, OpenError> {
        match self.0 {
            Target::File(file) => Ok(file.into_unlocked()),
            Target::Server(_) => Err(OpenError::NeedsFile),
        }
    }
}
