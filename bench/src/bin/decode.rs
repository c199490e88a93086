//! Replies out of bytes, in ns per reply: the router's decoder beside `redis-protocol`'s and `redis`'s own.
//!
//! One stream of `$100` replies, cut into reads of 64 KiB as a busy socket gives them, decoded by each in turn, best
//! of several rounds. Every decoder must hand out values that do not keep the read buffer alive, as the router's
//! does; the row "views" shows what `redis-protocol` costs where they may.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

// The router keeps its decoder to itself: it is included as source rather than made public for a measurement.
#[path = "../../../crates/failsoft/src/connection/nested.rs"]
#[allow(dead_code, reason = "a lane uses more of it")]
mod nested;
#[path = "../../../crates/failsoft/src/connection/resp.rs"]
#[allow(dead_code, reason = "a lane uses more of it")]
mod resp;
#[path = "../../../crates/failsoft/src/connection/skip.rs"]
#[allow(dead_code, reason = "a lane uses more of it")]
mod skip;

use bytes::{Bytes, BytesMut};
use redis_protocol::resp3::decode::complete::{decode_bytes_mut, decode_range};
use redis_protocol::resp3::types::{BytesFrame, RangeFrame};
use std::hint::black_box;
use std::time::Instant;

const REPLIES: usize = 200_000;
const VALUE: usize = 100;
const READ: usize = 64 * 1024;
const ROUNDS: usize = 15;

/// Decodes the stream and gives every value away; the count of their bytes.
type Decode = fn(&[u8]) -> usize;

fn main() {
    let stream = format!("${VALUE}\r\n{}\r\n", "x".repeat(VALUE)).repeat(REPLIES).into_bytes();
    let decoders: [(&str, Decode); 4] = [
        ("failsoft", ours),
        ("redis-protocol 6, ranges, copied out", library_copied),
        ("redis-protocol 6, views of the buffer", library_views),
        ("redis 1.8", redis_parser),
    ];
    println!("{REPLIES} replies of {VALUE} bytes, reads of {READ} bytes, best of {ROUNDS} rounds");
    let mut best = [f64::INFINITY; 4];
    for _ in 0..ROUNDS {
        for (best, (name, decode)) in best.iter_mut().zip(&decoders) {
            let start = Instant::now();
            let bytes = decode(black_box(&stream));
            *best = best.min(start.elapsed().as_nanos() as f64 / REPLIES as f64);
            assert_eq!(bytes, REPLIES * VALUE, "{name} lost something");
        }
    }
    for (best_ns, (name, _)) in best.iter().zip(&decoders) {
        println!("{name:40} {best_ns:6.1} ns per reply, {:.1} x failsoft", best_ns / best[0]);
    }
}

fn ours(stream: &[u8]) -> usize {
    let (mut decoder, mut buffer, mut count) = (resp::Decoder::default(), Vec::with_capacity(2 * READ), 0);
    for read in stream.chunks(READ) {
        buffer.extend_from_slice(read);
        let mut pos = 0;
        while let Some(reply) = decoder.decode(&buffer, &mut pos).expect("the stream is RESP") {
            match black_box(reply) {
                resp::Incoming::Reply(resp::Reply::Value(value)) => count += value.len(),
                other => panic!("a value, not {other:?}"),
            }
        }
        buffer.drain(..pos);
    }
    count
}

fn library_copied(stream: &[u8]) -> usize {
    let (mut buffer, mut count) = (Vec::with_capacity(2 * READ), 0);
    for read in stream.chunks(READ) {
        buffer.extend_from_slice(read);
        let mut pos = 0;
        while let Some((frame, used)) = decode_range(&buffer[pos..]).expect("the stream is RESP") {
            match frame {
                RangeFrame::BlobString { data: (from, to), .. } => {
                    count += black_box(Bytes::copy_from_slice(&buffer[pos + from..pos + to])).len();
                }
                other => panic!("a value, not {other:?}"),
            }
            pos += used;
        }
        buffer.drain(..pos);
    }
    count
}

fn library_views(stream: &[u8]) -> usize {
    let (mut buffer, mut count) = (BytesMut::with_capacity(2 * READ), 0);
    for read in stream.chunks(READ) {
        buffer.extend_from_slice(read);
        while let Some((frame, _, _)) = decode_bytes_mut(&mut buffer).expect("the stream is RESP") {
            match black_box(frame) {
                BytesFrame::BlobString { data, .. } => count += data.len(),
                other => panic!("a value, not {other:?}"),
            }
        }
    }
    count
}

/// The blocking parser: it reads by itself and ahead, so the stream is not cut, and its end says nothing.
fn redis_parser(mut stream: &[u8]) -> usize {
    let (mut parser, mut count) = (redis::Parser::new(), 0);
    for _ in 0..REPLIES {
        match black_box(parser.parse_value(&mut stream).expect("the stream is RESP")) {
            redis::Value::BulkString(value) => count += value.len(),
            other => panic!("a value, not {other:?}"),
        }
    }
    count
}
