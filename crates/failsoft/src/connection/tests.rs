//! Lanes against a small scripted server; the decoder against streams cut anywhere.
