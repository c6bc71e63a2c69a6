//! A name server for one address, over UDP and TCP.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// Answers every question for an address with that of this machine.
pub(crate) struct NameServer {
    pub(crate) at: SocketAddr,
    udp: Arc<AtomicUsize>,
    tcp: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl NameServer {
    /// `cut_short`: what is asked over UDP has to be asked again over TCP.
    pub(crate) async fn start(cut_short: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(at).await.unwrap();
        let (udp, tcp) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        let asked = Arc::clone(&udp);
        tasks.spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer(&question[..length], cut_short);
                socket.send_to(&answer, from).await.unwrap();
            }
        });
        let asked = Arc::clone(&tcp);
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A resolver that goes away is no failure of the test.
                drop(serve(stream, &asked).await);
            }
        });
        Self { at, udp, tcp, _tasks: tasks }
    }

    pub(crate) fn asked_over_udp(&self) -> usize {
        self.udp.load(Ordering::Relaxed)
    }

    pub(crate) fn asked_over_tcp(&self) -> usize {
        self.tcp.load(Ordering::Relaxed)
    }
}

async fn serve(mut stream: TcpStream, asked: &AtomicUsize) -> std::io::Result<()> {
    loop {
        let mut question = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut question).await?;
        asked.fetch_add(1, Ordering::Relaxed);
        let answer = answer(&question, false);
        stream.write_u16(u16::try_from(answer.len()).unwrap()).await?;
        stream.write_all(&answer).await?;
    }
}

/// The question again, then the address if it was one for an A record.
fn answer(question: &[u8], cut_short: bool) -> Vec<u8> {
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0).unwrap();
    let is_a = question[name_end + 1..name_end + 3] == [0, 1];
    let has_address = is_a && !cut_short;
    let flags = if cut_short { [0x83, 0x80] } else { [0x81, 0x80] };
    let mut answer = question[..2].to_vec();
    answer.extend(flags);
    answer.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    answer.extend(&question[12..name_end + 5]);
    if has_address {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(Ipv4Addr::LOCALHOST.octets());
    }
    answer
}
