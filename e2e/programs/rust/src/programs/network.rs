//! There is no network.
use std::net::{TcpListener, TcpStream, UdpSocket};

pub fn main() {
    println!(
        "{:?}",
        TcpStream::connect("127.0.0.1:1")
            .map(|_| ())
            .map_err(|e| e.kind())
    );
    println!(
        "{:?}",
        TcpListener::bind("127.0.0.1:0")
            .map(|_| ())
            .map_err(|e| e.kind())
    );
    println!(
        "{:?}",
        UdpSocket::bind("127.0.0.1:0")
            .map(|_| ())
            .map_err(|e| e.kind())
    );
}
