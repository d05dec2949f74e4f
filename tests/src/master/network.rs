//! The network between a master and its viewers, while it changes: a handle that a test keeps.

use std::sync::{Arc, Mutex};

use crate::impair::Impairment;

/// What lies between. All clones are the same network; a default one is good.
#[derive(Clone, Debug, Default)]
pub struct Network(Arc<Mutex<Weather>>);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// Of either direction.
    pub(super) impairment: Impairment,
    /// How often the NAT in front of the master has given it another port.
    pub(super) rebound: u32,
}

impl Network {
    /// One with this wrong with it.
    pub fn new(impairment: Impairment) -> Self {
        let network = Self::default();
        network.set(impairment);
        network
    }

    /// From the next datagram on.
    pub fn set(&self, impairment: Impairment) {
        self.0.lock().expect("not poisoned").impairment = impairment;
    }

    /// Nothing passes any more, for everybody.
    pub fn cut(&self) {
        self.set(Impairment::drop(1.0));
    }

    /// What comes from the master comes from another port from now on, and what goes to the old one goes nowhere.
    pub fn rebind(&self) {
        self.0.lock().expect("not poisoned").rebound += 1;
    }

    pub(super) fn weather(&self) -> Weather {
        *self.0.lock().expect("not poisoned")
    }
}
