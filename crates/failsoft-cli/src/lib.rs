//! failsoft-cli
