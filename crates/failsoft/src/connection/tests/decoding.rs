//! The decoder: the same replies however a stream is cut, and an end for every garbage.

use super::super::resp::{Decoder, MAX_BULK, ProtocolError, Reply};
use bytes::Bytes;
use proptest::prelude::*;

/// Feeds `chunks` as a lane does; all replies up to the end or the first error.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ProtocolError>) {
    let (mut decoder, mut buffer, mut replies) = (Decoder::default(), Vec::new(), Vec::new());
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        let mut pos = 0;
        loop {
            match decoder.decode(&buffer, &mut pos) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(e) => return (replies, Some(e)),
            }
        }
        buffer.drain(..pos);
    }
    (replies, None)
}

fn all(bytes: &[u8]) -> Vec<Reply> {
    let whole = decode([bytes]);
    assert_eq!(whole, decode(bytes.chunks(1)), "byte by byte is the same");
    assert_eq!(whole.1, None);
    whole.0
}

fn error(bytes: &[u8]) -> String {
    decode([bytes]).1.expect("an error").0
}

#[test]
fn every_kind_of_reply() {
    let stream = b"+OK\r\n-ERR no\r\n:-42\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n_\r\n,1.5\r\n#t\r\n(123\r\n\
        *2\r\n$1\r\nx\r\n*1\r\n:1\r\n%1\r\n+a\r\n$-1\r\n~0\r\n=7\r\ntxt:abc\r\n!3\r\nERR\r\n+end\r\n";
    let expected = [
        Reply::Status("OK".into()),
        Reply::Error("ERR no".into()),
        Reply::Integer(-42),
        Reply::Value(Bytes::from_static(b"a\r\n")),
        Reply::Value(Bytes::new()),
        Reply::Nil,
        Reply::Nil,
        Reply::Nil,
        Reply::Unexpected("double"),
        Reply::Unexpected("boolean"),
        Reply::Unexpected("big number"),
        Reply::Unexpected("array"),
        Reply::Unexpected("map"),
        Reply::Unexpected("set"),
        Reply::Unexpected("verbatim string"),
        Reply::Unexpected("blob error"),
        Reply::Status("end".into()),
    ];
    // "$3\r\na\r\n\r\n" is a string of three bytes that ends like a line.
    assert_eq!(all(stream), expected);
}

#[test]
fn pushes_and_attributes_are_no_replies() {
    let stream = b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n>0\r\n:7\r\n";
    let expected = [Reply::Value(Bytes::from_static(b"v")), Reply::Unexpected("array"), Reply::Integer(7)];
    assert_eq!(all(stream), expected);
}

#[test]
fn limits_are_errors_that_say_so() {
    assert!(error(format!("${}\r\n", MAX_BULK + 1).as_bytes()).contains("536870912"));
    assert!(error(&[b'+'; 70_000]).contains("65536"));
    assert!(error(&b"*1\r\n".repeat(40)).contains("nested deeper than 32"));
    assert!(error(b"*99999999999\r\n").contains("99999999999"));
    for garbage in [&b"HTTP/1.1 400"[..], b"$x\r\n", b"$-2\r\n", b":\r\n", b"$1\r\nabc", b"+a\rb", b"\r\n", b"$?\r\n"] {
        assert!(decode([garbage]).1.is_some(), "{} is no RESP", garbage.escape_ascii());
    }
}

fn reply() -> impl Strategy<Value = (Vec<u8>, Option<Reply>)> {
    let text = "[a-zA-Z ]{0,20}";
    prop_oneof![
        text.prop_map(|t| (format!("+{t}\r\n").into_bytes(), Some(Reply::Status(t.into())))),
        text.prop_map(|t| (format!("-{t}\r\n").into_bytes(), Some(Reply::Error(t.into())))),
        any::<i64>().prop_map(|n| (format!(":{n}\r\n").into_bytes(), Some(Reply::Integer(n)))),
        prop::collection::vec(any::<u8>(), 0..9000).prop_map(|v| {
            let bytes = [format!("${}\r\n", v.len()).as_bytes(), &v, b"\r\n"].concat();
            (bytes, Some(Reply::Value(v.into())))
        }),
        Just((b"$-1\r\n".to_vec(), Some(Reply::Nil))),
        Just((b"*2\r\n*1\r\n$2\r\nhi\r\n%1\r\n:1\r\n_\r\n".to_vec(), Some(Reply::Unexpected("array")))),
        Just((b">1\r\n+message\r\n".to_vec(), None)),
    ]
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_is_the_same_replies(
        parts in prop::collection::vec(reply(), 0..12),
        cuts in prop::collection::vec(1_usize..3000, 1..40),
    ) {
        let stream: Vec<u8> = parts.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        let expected: Vec<Reply> = parts.into_iter().filter_map(|(_, reply)| reply).collect();
        let (mut rest, mut chunks) = (&stream[..], Vec::new());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (chunk, next) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = next;
        }
        prop_assert_eq!(decode(chunks), (expected, None));
    }

    #[test]
    fn garbage_always_ends(bytes in prop::collection::vec(prop::sample::select(&b"$*+-:%>|_#!=\r\n0129ab"[..]), 0..400)) {
        let (whole, slow) = (decode([&bytes[..]]), decode(bytes.chunks(1)));
        prop_assert_eq!(whole.0, slow.0);
        prop_assert_eq!(whole.1.is_some(), slow.1.is_some());
    }
}
