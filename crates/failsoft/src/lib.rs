//! failsoft
mod clock;
mod connection;
