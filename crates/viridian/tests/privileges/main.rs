// SPDX-License-Identifier: MIT OR Apache-2.0
//! The privilege matrix: a guest tries every synthetic MSR and every hypercall, with each bit of what it is offered alone and with each
//! missing, and what it can do is compared with a table that was written by hand.
#![forbid(unsafe_code)]

mod monitor;
mod planted;
mod table;

use std::collections::BTreeSet;
use std::sync::Arc;

use engine::Engine;
use engine_soft::SoftEngine;
use engine_soft::model::Model;
use hypervisor::{Enlightenment, Enlightenments, Offer};
use planted::{FAULTS, Planted};
use table::{Found, Table};

/// Everything; hardly more than hypercalls; and for each service, everything without it and hardly more than it.
fn offers() -> Vec<Enlightenments> {
    let all = Enlightenment::ALL.iter().fold(Enlightenments::NONE, |set, &service| set.with(service));
    let makes_calls = |service: &Enlightenment| {
        Offer::new(Enlightenments::NONE.with(*service)).privileges.access_hypercall_msrs()
    };
    // Without these a guest sees no hypervisor and makes no calls.
    let least = Enlightenment::ALL
        .iter()
        .filter(|service| makes_calls(service))
        .fold(Enlightenments::NONE, |set, &service| set.with(service));
    let each = Enlightenment::ALL.iter().flat_map(|&service| [all.without(service), least.with(service)]);
    [all, least].into_iter().chain(each).collect()
}

fn engine() -> Arc<dyn Engine> {
    Arc::new(SoftEngine::new(Model::x86_64_v2().expect("a host that can run it")))
}

/// B02.008, B04.003, B04.005: the bits that CPUID shows are the bits that guard each register and each call, and nothing else does.
#[test]
fn every_guard_is_the_specifications() {
    let (engine, table) = (engine(), Table::read());
    let found: Vec<Found> = offers().into_iter().map(|offer| monitor::run(&engine, offer)).collect();
    let most = &found[0];
    let mistakes: BTreeSet<String> = found.iter().flat_map(|found| table.mistakes(found, most)).collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
    for bit in (0..64).map(|bit| 1_u64 << bit).filter(|bit| most.privileges & bit != 0) {
        let with = found.iter().filter(|found| found.privileges & bit != 0).count();
        assert!(with >= 2 && with < found.len(), "bit {bit:#x} was never on, or never off");
    }
}

#[test]
fn every_planted_guard_is_found() {
    let table = Table::read();
    for &(fault, what) in FAULTS {
        let planted: Arc<dyn Engine> = Arc::new(Planted { engine: engine(), fault });
        let most = monitor::run(&planted, offers()[0]);
        let is_wrong = |offer| !table.mistakes(&monitor::run(&planted, offer), &most).is_empty();
        assert!(offers().into_iter().any(is_wrong), "nobody sees that {what}");
    }
    assert!(FAULTS.len() >= 10);
}
