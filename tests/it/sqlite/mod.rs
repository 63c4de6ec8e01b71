//! What only the SQLite backend promises: whose files it takes, what it does about locks, faults of the disk and killed
//! processes, and how it moves format 1.
