//! More connections than there is room for.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context as _, Result, ensure};
use axum::routing::get;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpSocket,
};

use super::*;

/// Far above what it takes, and far below what a flood that is refused one by one would take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections of one client that does not stop.
const FLOOD: usize = 400;
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GOOD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// A door with little room, at which each address of this machine is a client of its own.
async fn open(connections: usize, per_client: usize) -> Result<(SocketAddr, Tasks)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let (addr, tasks) = (listener.local_addr()?, Tasks::default());
    let door = Door {
        listener,
        router: Router::new().route("/", get(|| async { "served" })),
        room: Arc::new(|| usize::MAX),
        proxies: TrustedProxies::default(),
        tasks: tasks.clone(),
        seats: Seats::new(connections, per_client),
        refusing: Arc::new(Semaphore::new(REFUSALS_MAX)),
        neighbours: false,
        told: None,
    };
    tasks.start(door.run());
    Ok((addr, tasks))
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    Ok(socket.connect(to).await?)
}

/// What is answered to a request; empty if the connection is closed without a word.
async fn ask(mut stream: TcpStream) -> Result<String> {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: relay\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

/// SEC-7: while one client opens connection after connection and says nothing, another one is answered
/// at once; the flood holds no more than its share.
#[tokio::test]
async fn a_flood_of_one_client_keeps_no_other_client_waiting() -> Result<()> {
    const SHARE: usize = 4;
    let (addr, tasks) = open(4_096, SHARE).await?;
    let mut flood = Vec::new();
    for _ in 0..FLOOD {
        flood.push(connect(FLOODER, addr).await?);
    }

    let answered = tokio::time::timeout(PATIENCE, async { ask(connect(GOOD, addr).await?).await });
    let answer = answered.await.context("a good client waits behind the flood")??;

    ensure!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("served"), "{answer}");
    // All but its share are closed soon, whether they were told why or not.
    let mut open = 0;
    for mut stream in flood.drain(..) {
        let mut byte = [0; 1];
        let ended = tokio::time::timeout(REFUSAL_MAX * 2, stream.read(&mut byte)).await;
        open += usize::from(ended.is_err());
        if open > SHARE {
            break;
        }
    }
    assert_eq!(open, SHARE);
    tasks.stop().await;
    Ok(())
}

/// SEC-7, API-1: a client that has its share is told so when it asks, and is served again when it has
/// given something back.
#[tokio::test]
async fn a_client_with_too_many_connections_is_told_so() -> Result<()> {
    let (addr, tasks) = open(4_096, 1).await?;
    let first = connect(FLOODER, addr).await?;
    let refused = ask(connect(FLOODER, addr).await?).await?;
    ensure!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("as many connections"));
    let served = ask(first).await?;
    ensure!(served.starts_with("HTTP/1.1 200 "), "{served}");
    let again = async {
        while !ask(connect(FLOODER, addr).await?).await?.starts_with("HTTP/1.1 200 ") {}
        anyhow::Ok(())
    };
    tokio::time::timeout(PATIENCE, again).await.context("its place is not free again")??;
    tasks.stop().await;
    Ok(())
}

/// SEC-7: with all seats taken, those who say nothing hold up the others for a moment only: 200 of them
/// in less than five seconds, and behind them one who asks is told that there is no room.
#[tokio::test]
async fn a_full_relay_soon_tells_so_also_behind_those_who_say_nothing() -> Result<()> {
    let (addr, tasks) = open(1, 1).await?;
    let seated = connect(GOOD, addr).await?;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(connect(FLOODER, addr).await?);
    }
    let answered = tokio::time::timeout(PATIENCE, async { ask(connect(GOOD, addr).await?).await });
    let answer = answered.await.context("who is refused waits long for that")??;
    ensure!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    drop((seated, silent));
    tasks.stop().await;
    Ok(())
}
