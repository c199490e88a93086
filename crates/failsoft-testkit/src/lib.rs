//! failsoft-testkit
