//! What is remembered of the containers that opted in, from one connection to the engine to the next.

use std::collections::HashMap;
use std::net::IpAddr;

use super::inspections::network_owner;
use super::look;
use super::networks::{self, Surroundings};
use super::time::rfc3339;
use super::wire::Inspect;
use crate::domain::container::{Container, ContainerId, EngineTime, LostAddresses};

/// One container.
#[derive(Debug)]
pub struct Known {
    /// As it was last told.
    pub told: Container,
    /// The container whose network it uses.
    pub owner: Option<ContainerId>,
    /// Its addresses, by the name of the network.
    pub addresses: Vec<(String, Vec<IpAddr>)>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Memory {
    /// By id.
    pub known: HashMap<ContainerId, Known>,
    /// The latest time that the engine's clock was seen to show.
    pub latest: EngineTime,
}

impl Memory {
    /// Takes in what a look found. `None` for a container that did not opt in.
    pub fn learn(
        &mut self,
        inspect: &Inspect,
        owner: Option<&Inspect>,
        surroundings: &mut Surroundings,
    ) -> Option<&Known> {
        if !look::opted_in(inspect) {
            return None;
        }
        surroundings.learn(&inspect.network_settings);
        let reach = match network_owner(inspect) {
            None => surroundings.reach(&inspect.host_config.network_mode, &inspect.network_settings),
            Some(id) => match owner {
                None => surroundings.nowhere(vec![format!("the network of container {id}, which is gone")]),
                Some(owner) if started(owner) > started(inspect) => surroundings.nowhere(vec![format!(
                    "an old network of container {}, which was started later: restart this one as well",
                    owner.name.trim_start_matches('/')
                )]),
                Some(owner) => {
                    surroundings.learn(&owner.network_settings);
                    surroundings.reach(&owner.host_config.network_mode, &owner.network_settings)
                }
            },
        };
        let told = look::container(inspect, reach);
        let id = told.id.clone();
        let owner = network_owner(inspect).map(ContainerId::new);
        let known = Known { told, owner, addresses: networks::addresses(&inspect.network_settings) };
        self.known.insert(id.clone(), known);
        self.known.get(&id)
    }

    /// Returns the addresses that a container had on a network, as it was last told.
    pub fn lost_with(&self, id: &ContainerId, network: &str) -> LostAddresses {
        let addresses = self.known.get(id).map_or(&[][..], |known| &known.addresses);
        let on_it = addresses.iter().filter(|(name, _)| name == network);
        LostAddresses::These(on_it.flat_map(|(_, ips)| ips.iter().copied()).collect())
    }

    /// Those that use the network of this container.
    pub fn guests_of(&self, owner: &ContainerId) -> Vec<ContainerId> {
        let guests = self.known.iter().filter(|(_, known)| known.owner.as_ref() == Some(owner));
        guests.map(|(id, _)| id.clone()).collect()
    }

    /// A time for an edge that no event told: after everything that is known of the container.
    pub fn now_for(&self, id: &ContainerId) -> EngineTime {
        let started = self.known.get(id).map(|known| known.told.started_at).unwrap_or_default();
        self.latest.max(started)
    }
}

fn started(inspect: &Inspect) -> EngineTime {
    rfc3339(&inspect.state.started_at).unwrap_or_default()
}
