//! The decoder: the same replies however a stream is cut, and an end for every garbage.

use super::super::nested::MAX_ELEMENTS;
use super::super::resp::{Decoder, Incoming, MAX_BULK, ProtocolError, Reply};
use bytes::Bytes;
use proptest::prelude::*;

/// Feeds `chunks` as a lane does; all replies up to the end or the first error.
fn decode<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Option<ProtocolError>) {
    let (incoming, error) = decode_with(Decoder::default(), chunks);
    let replies = incoming.into_iter().map(|incoming| match incoming {
        Incoming::Reply(reply) => reply,
        Incoming::Push(_) => panic!("nobody wants pushes"),
    });
    (replies.collect(), error)
}

fn decode_with<'a>(
    mut decoder: Decoder,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Incoming>, Option<ProtocolError>) {
    let (mut buffer, mut replies) = (Vec::new(), Vec::new());
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
        Reply::Array(vec![text("x"), Reply::Array(vec![Reply::Integer(1)])]),
        Reply::Array(vec![Reply::Status("a".into()), Reply::Nil]),
        Reply::Array(vec![]),
        text("txt:abc"),
        Reply::Unexpected("blob error"),
        Reply::Status("end".into()),
    ];
    // "$3\r\na\r\n\r\n" is a string of three bytes that ends like a line.
    assert_eq!(all(stream), expected);
}

const MIXED: &[u8] =
    b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n|1\r\n+ttl\r\n:3\r\n$1\r\nv\r\n*1\r\n|1\r\n+a\r\n+b\r\n:1\r\n\
    >2\r\n+invalidate\r\n_\r\n>0\r\n:7\r\n";

#[test]
fn pushes_and_attributes_are_no_replies() {
    assert_eq!(all(MIXED), [text("v"), Reply::Array(vec![Reply::Integer(1)]), Reply::Integer(7)]);
}

#[test]
fn pushes_that_are_wanted_stand_in_order_with_the_replies() {
    let wanted = || {
        let mut decoder = Decoder::default();
        decoder.want_pushes();
        decoder
    };
    let kind = || Reply::Status("invalidate".into());
    let expected = vec![
        Incoming::Push(vec![kind(), Reply::Array(vec![text("k")])]),
        Incoming::Reply(text("v")),
        Incoming::Reply(Reply::Array(vec![Reply::Integer(1)])),
        Incoming::Push(vec![kind(), Reply::Nil]),
        Incoming::Reply(Reply::Integer(7)),
    ];
    assert_eq!(decode_with(wanted(), [MIXED]), (expected.clone(), None));
    assert_eq!(decode_with(wanted(), MIXED.chunks(1)), (expected, None));
}

#[test]
fn a_nested_reply_over_a_limit_is_stepped_over_and_the_next_one_is_whole() {
    let many = format!("*2\r\n*1\r\n+a\r\n*{}\r\n", MAX_ELEMENTS).into_bytes();
    let stream = [many, b":1\r\n".repeat(MAX_ELEMENTS), b"$1\r\nv\r\n".to_vec()].concat();
    let expected = vec![Reply::Unexpected("reply over a limit"), text("v")];
    assert_eq!(decode(stream.chunks(60_000)), (expected, None));
}

#[test]
fn a_push_over_a_limit_is_an_error_because_nobody_would_know_what_was_missed() {
    let mut decoder = Decoder::default();
    decoder.want_pushes();
    let stream = format!(">2\r\n+invalidate\r\n*{MAX_ELEMENTS}\r\n");
    let (incoming, error) = decode_with(decoder, [stream.as_bytes()]);
    assert_eq!((incoming, error.map(|e| e.0.contains("1048576 elements"))), (vec![], Some(true)));
}

#[test]
fn what_is_given_up_in_the_middle_leaves_the_stream_in_step_and_still_arrives() {
    let long = [b"$9000\r\n", &[b'x'; 9000][..], b"\r\n"].concat();
    let nested =
        [b"*3\r\n%1\r\n+k\r\n", &long[..], b"|1\r\n+a\r\n:1\r\n=7\r\ntxt:abc\r\n*2\r\n", &long, b":1\r\n"].concat();
    for reply in [&long, &nested] {
        let stream = [reply, &b"$1\r\nv\r\n"[..]].concat();
        for at in 0..reply.len() {
            let (mut decoder, mut pos) = (Decoder::default(), 0);
            assert_eq!(decoder.decode(&stream[..at], &mut pos), Ok(None));
            let arriving = decoder.progress().map(|(here, _)| here);
            decoder.discard();
            assert_eq!(decoder.progress().map(|(here, _)| here), arriving, "at {at}");
            let given_up = decoder.decode(&stream, &mut pos).unwrap().unwrap();
            assert!(matches!(given_up, Incoming::Reply(Reply::Unexpected(_) | Reply::Value(_) | Reply::Array(_))));
            assert_eq!(decoder.decode(&stream, &mut pos), Ok(Some(Incoming::Reply(text("v")))), "given up at {at}");
            assert!(decoder.at_rest() && decoder.progress().is_none());
        }
    }
}

fn text(text: &'static str) -> Reply {
    Reply::Value(Bytes::from_static(text.as_bytes()))
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
    let letters = "[a-zA-Z ]{0,20}";
    prop_oneof![
        letters.prop_map(|t| (format!("+{t}\r\n").into_bytes(), Some(Reply::Status(t.into())))),
        letters.prop_map(|t| (format!("-{t}\r\n").into_bytes(), Some(Reply::Error(t.into())))),
        any::<i64>().prop_map(|n| (format!(":{n}\r\n").into_bytes(), Some(Reply::Integer(n)))),
        prop::collection::vec(any::<u8>(), 0..9000).prop_map(|v| {
            let bytes = [format!("${}\r\n", v.len()).as_bytes(), &v, b"\r\n"].concat();
            (bytes, Some(Reply::Value(v.into())))
        }),
        Just((b"$-1\r\n".to_vec(), Some(Reply::Nil))),
        Just((
            b"*2\r\n*1\r\n$2\r\nhi\r\n%1\r\n:1\r\n_\r\n".to_vec(),
            Some(Reply::Array(
                vec![Reply::Array(vec![text("hi")]), Reply::Array(vec![Reply::Integer(1), Reply::Nil]),]
            )),
        )),
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
