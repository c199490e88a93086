//! failsoft
