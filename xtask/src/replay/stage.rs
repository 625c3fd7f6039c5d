//! The site on which recordings are replayed, and fresh directors in it.

use std::time::Duration;

use anyhow::{Context, Result};
use netns_tests::director::{RECORDED_MARKS, SMALL_TABLES, program_id};
use netns_tests::server::Ports;
use netns_tests::{Agent, Director, DirectorOptions, Server, Site, interrupt};

/// The site, the servers and the client, which outlive the directors.
#[derive(Debug)]
pub(crate) struct Stage {
    // Fields are dropped in this order: processes before the site they run in.
    traffic: Option<Traffic>,
    site: Site,
    used: bool,
}

/// What answers and what asks.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// The client.
    pub(crate) client: Agent,
    /// The first real server's view of the wire.
    pub rs1: Agent,
    _servers: Vec<Server>,
}

impl Stage {
    /// Builds the site.
    ///
    /// # Errors
    /// If it cannot be built.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { traffic: None, site: Site::nat_dr().context("cannot build the site")?, used: false })
    }

    /// A director with empty tables. The one before must be gone.
    ///
    /// # Errors
    /// If lbd does not start.
    pub(crate) fn fresh_director(&mut self, marks: bool) -> Result<Director> {
        if self.used {
            self.site.fresh_bpffs()?;
            let director = self.site.director();
            for interface in self.site.director_interfaces() {
                interrupt::wait_until(
                    "the last director's program is detached",
                    Duration::from_secs(5),
                    || Ok(program_id(&director, &interface)?.is_none()),
                )?;
            }
            if let Some(traffic) = &mut self.traffic {
                traffic.client.close_all()?;
            }
        }
        self.used = true;
        let config = Some(SMALL_TABLES.to_owned());
        let director =
            Director::start_with(&self.site, DirectorOptions { config, ..DirectorOptions::default() })?;
        if marks {
            director.adm_all(&RECORDED_MARKS)?;
        }
        Ok(director)
    }

    /// Servers and client, if they were ever started.
    pub(crate) const fn used_traffic(&mut self) -> Option<&mut Traffic> {
        self.traffic.as_mut()
    }

    /// Servers and client, started at the first use.
    ///
    /// # Errors
    /// If they do not start.
    pub(crate) fn traffic(&mut self) -> Result<&mut Traffic> {
        if self.traffic.is_none() {
            let site = &self.site;
            self.traffic = Some(Traffic {
                _servers: Server::start_all(site, &Ports::recorded())?,
                client: Agent::start(&site.client(), site.dir())?,
                rs1: Agent::start(&site.host("rs1"), site.dir())?,
            });
        }
        self.traffic.as_mut().context("no traffic")
    }
}
