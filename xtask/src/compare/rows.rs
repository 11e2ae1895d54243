//! What is compared: the strategies, with the settings of each. Rules only.

/// One way to share sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    /// What tables and plots call it.
    pub(crate) name: &'static str,
    /// `SESSION_STRATEGY`.
    pub(crate) strategy: &'static str,
    /// What it is told beside.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// `GATEWAY_PIN`, where the gateway leads each client to one node.
    pub(crate) pin: Option<&'static str>,
    /// How a session is ended from elsewhere, or the nearest that there is.
    pub(crate) ending: Ending,
    /// A Redis that forgets takes its sessions along.
    pub(super) kept_in_redis: bool,
    /// Each request asks Redis.
    pub(crate) asks_redis: bool,
}

/// By which request a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// `DELETE /auth/sessions/{id}`, from another session of the user.
    Kick,
    /// `POST /auth/logout`, by itself.
    LogOut,
    /// `POST /auth/logout-all`, by itself.
    LogOutEverywhere,
}

impl Ending {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Kick => "one session, by another of its user",
            Self::LogOut => "a sign-out",
            Self::LogOutEverywhere => "a sign-out everywhere",
        }
    }
}

impl Row {
    /// Its nodes talk to each other.
    pub(crate) fn is_cluster(&self) -> bool {
        self.strategy == "replicated"
    }
}

const PLAIN: Row = Row {
    name: "",
    strategy: "",
    settings: &[],
    pin: None,
    ending: Ending::Kick,
    kept_in_redis: false,
    asks_redis: false,
};

pub(crate) const ROWS: &[Row] = &[
    Row { name: "sticky", strategy: "sticky", pin: Some("cookie"), ..PLAIN },
    Row { name: "sticky, by address", strategy: "sticky", pin: Some("address"), ..PLAIN },
    Row { name: "replicated", strategy: "replicated", settings: &[("CLUSTER_WRITE", "sync")], ..PLAIN },
    Row { name: "redis", strategy: "redis", kept_in_redis: true, asks_redis: true, ..PLAIN },
    Row { name: "jwt", strategy: "jwt", settings: &[("JWT_DENY_LIST", "off")], ending: Ending::LogOut, ..PLAIN },
    Row {
        name: "jwt + feed",
        strategy: "jwt",
        settings: &[("JWT_DENY_LIST", "feed")],
        ending: Ending::LogOut,
        ..PLAIN
    },
    Row {
        name: "jwt + list",
        strategy: "jwt",
        settings: &[("JWT_DENY_LIST", "redis")],
        ending: Ending::LogOut,
        asks_redis: true,
        ..PLAIN
    },
    Row { name: "cookie", strategy: "cookie", ending: Ending::LogOutEverywhere, ..PLAIN },
    Row { name: "hybrid", strategy: "hybrid", kept_in_redis: true, ..PLAIN },
];
