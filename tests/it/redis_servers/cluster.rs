//! A cluster of three primaries without replicas, each with a third of the slots, which can be moved.

use redis::{Connection, Value};

use super::ports::BUS;
use super::server::Server;
use super::setup::Setup;
use super::until;

/// How many slots there are.
pub const SLOTS: u16 = 16_384;
/// Longest a key may take to move.
const MIGRATE_MS: &str = "10000";

/// The cluster. All of it ends with its value.
pub struct Cluster {
    pub nodes: [Server; 3],
}

impl Cluster {
    /// Starts three nodes and waits until each finds the cluster whole. Two seconds of that are Redis's: so long
    /// a node that has just begun calls the cluster down.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&Setup::default())
    }

    /// The same with nodes that are set up like this.
    #[track_caller]
    pub fn with(setup: &Setup) -> Self {
        let setup =
            setup.clone().tcp().line("cluster-enabled yes").line("cluster-node-timeout 1000");
        // The bus, too.
        let setup = if setup.is_tls() { setup.line("tls-cluster yes") } else { setup };
        let cluster = Self { nodes: [(); 3].map(|()| setup.clone().start()) };
        for (at, node) in cluster.nodes.iter().enumerate() {
            let [from, to] = range(at).map(|slot| slot.to_string());
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &(at + 1).to_string()]);
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &from, &to]);
        }
        for other in &cluster.nodes[1..] {
            let (port, bus) = (other.port().to_string(), (other.port() + BUS).to_string());
            cluster.nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        cluster.settle();
        cluster
    }

    /// Waits until every node knows the others and finds the cluster whole.
    #[track_caller]
    pub fn settle(&self) {
        for node in &self.nodes {
            until("a node to find the cluster whole", || {
                let info: String = node.ask(&["CLUSTER", "INFO"]);
                let whole = ["cluster_state:ok", "cluster_known_nodes:3"];
                whole.iter().all(|line| info.contains(line)).then_some(())
            });
        }
    }

    /// Names the nodes: `redis+cluster://host:port,host:port,host:port`; `rediss` with TLS.
    pub fn url(&self) -> String {
        let scheme = self.nodes[0].scheme();
        format!("{scheme}+cluster://{}", self.nodes.each_ref().map(Server::address).join(","))
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].ask(&["CLUSTER", "KEYSLOT", key])
    }

    /// Which node has a slot, if all agree.
    #[track_caller]
    pub fn owner(&self, slot: u16) -> Option<usize> {
        let named = self.nodes.each_ref().map(|node| port_of(node, slot));
        let same = named.iter().all(|port| *port == named[0]);
        self.nodes.iter().position(|node| Some(node.port()) == named[0]).filter(|_| same)
    }

    /// Moves the slot of a key to another node, with its keys, while clients go on. Answers how many keys moved.
    #[track_caller]
    pub fn move_slot_of(&self, key: &str, to: usize) -> usize {
        let mut moving = self.begin_move(self.slot(key), to);
        let mut moved = 0;
        loop {
            match moving.step(100) {
                0 => break,
                keys => moved += keys,
            }
        }
        moving.finish();
        moved
    }

    /// Begins to move a slot: from now on who has it answers ASK for keys it does not have (any more).
    #[track_caller]
    pub fn begin_move(&self, slot: u16, to: usize) -> Move<'_> {
        let from = until("an owner of the slot", || self.owner(slot));
        assert_ne!(from, to, "it is there");
        let id = |at: usize| self.nodes[at].ask::<String>(&["CLUSTER", "MYID"]);
        let number = slot.to_string();
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &id(from)]);
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &id(to)]);
        let source = self.nodes[from].admin().expect("a connection");
        Move { cluster: self, slot, from, to, source }
    }
}

/// A slot on its way. Left alone it stays half way, which is where a cluster is when its mover dies.
pub struct Move<'c> {
    cluster: &'c Cluster,
    slot: u16,
    from: usize,
    to: usize,
    source: Connection,
}

impl Move<'_> {
    /// Moves up to this many keys; answers how many there were.
    #[track_caller]
    pub fn step(&mut self, most: usize) -> usize {
        let mut list = redis::cmd("CLUSTER");
        list.arg("GETKEYSINSLOT").arg(self.slot).arg(most);
        let keys: Vec<Vec<u8>> = list.query(&mut self.source).expect("keys");
        if !keys.is_empty() {
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(self.cluster.nodes[self.to].port());
            migrate.arg("").arg(0).arg(MIGRATE_MS).arg("KEYS").arg(&keys);
            // NOKEY: all of them were deleted meanwhile.
            migrate.query::<Value>(&mut self.source).expect("moved");
        }
        keys.len()
    }

    /// Gives the slot away, once no key is left of it, and waits until all nodes know.
    #[track_caller]
    pub fn finish(mut self) {
        while self.step(100) > 0 {}
        let nodes = &self.cluster.nodes;
        let (number, id) =
            (self.slot.to_string(), nodes[self.to].ask::<String>(&["CLUSTER", "MYID"]));
        let third = 3 - self.from - self.to;
        // The new owner first: between the two both redirect to it, and it takes what comes.
        for at in [self.to, self.from, third] {
            nodes[at].cli(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
        }
        until("all to know", || self.cluster.owner(self.slot).filter(|at| *at == self.to));
    }
}

/// The first and the last slot that a node has at the beginning.
fn range(node: usize) -> [u16; 2] {
    let bound = |at: usize| u16::try_from(usize::from(SLOTS) * at / 3).expect("a slot");
    [bound(node), bound(node + 1) - 1]
}

/// The port of whom a node calls the owner of a slot.
fn port_of(node: &Server, slot: u16) -> Option<u16> {
    type Owner = (Value, u16, String, Value);
    let slots: Vec<(u16, u16, Owner)> = node.ask(&["CLUSTER", "SLOTS"]);
    let (_, _, owner) = slots.into_iter().find(|(from, to, _)| (*from..=*to).contains(&slot))?;
    Some(owner.1)
}
