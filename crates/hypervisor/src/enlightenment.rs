// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is offered to a guest: every privilege, feature bit and recommendation, tied to the service that stands behind it.
//!
//! [`Enlightenment`] is the only place where a bit is offered. CPUID shows the sum of what a partition was given, hypercalls and MSRs are
//! checked against it, so a guest that believes CPUID finds everything that it was told of, and nothing else.

use engine::Capabilities;
use tlfs::cpuid::{Features, Recommendations};
use tlfs::msr::{self, Access};
use tlfs::privilege::{Privilege, PrivilegeMask};

/// Where a guest sees that it is offered a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bit {
    /// A privilege (CPUID 0x40000003 EAX and EBX).
    Privilege(Privilege),
    /// A feature (CPUID 0x40000003 EDX).
    Feature(Features),
    /// A recommendation (CPUID 0x40000004 EAX).
    Recommendation(Recommendations),
}

impl Bit {
    /// The specification's name of the bit, in kebab case.
    fn name(self) -> String {
        let (fields, mask) = match self {
            Self::Privilege(privilege) => (PrivilegeMask::FIELDS, 1 << privilege.bit()),
            Self::Feature(feature) => (Features::FIELDS, feature.into_bits().into()),
            Self::Recommendation(advice) => (Recommendations::FIELDS, advice.into_bits().into()),
        };
        let field = fields.iter().find(|field| field.mask() == mask);
        field.map_or_else(String::new, |field| field.name.replace('_', "-"))
    }
}

macro_rules! enlightenments {
    ($(
        $(#[$doc:meta])*
        $Name:ident: $Kind:ident($bit:expr), needs [$($needed:ident),*];
    )+) => {
        /// A service that a partition can be given, called as the bit that tells of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Enlightenment {
            $( $(#[$doc])* $Name, )+
        }

        impl Enlightenment {
            /// Every service.
            pub const ALL: &'static [Self] = &[$( Self::$Name, )+];

            /// The bit that tells of it.
            #[must_use]
            pub const fn bit(self) -> Bit {
                match self {
                    $( Self::$Name => Bit::$Kind($bit), )+
                }
            }

            /// The services without which it is of no use, besides the hypercall page that all of them need.
            #[must_use]
            pub const fn needs(self) -> &'static [Self] {
                match self {
                    $( Self::$Name => &[$( Self::$needed, )*], )+
                }
            }
        }
    };
}

const FEATURE: Features = Features::new();
const ADVICE: Recommendations = Recommendations::new();

enlightenments! {
    /// GUEST_OS_ID and the hypercall page (TLFS 2.6, 3.13). This and VP_INDEX are what the interface's signature promises.
    AccessHypercallMsrs: Privilege(Privilege::AccessHypercallMsrs), needs [AccessVpIndex];
    /// VP_INDEX, and VP indexes by APIC id (TLFS 7.8.1, 7.10.4).
    AccessVpIndex: Privilege(Privilege::AccessVpIndex), needs [AccessHypercallMsrs];
    /// Consumed time (TLFS 7.9.1).
    AccessVpRunTimeReg: Privilege(Privilege::AccessVpRunTimeReg), needs [];
    /// Reference time by MSR (TLFS 12.4).
    AccessPartitionReferenceCounter: Privilege(Privilege::AccessPartitionReferenceCounter), needs [];
    /// Reference time by page (TLFS 12.7).
    AccessPartitionReferenceTsc: Privilege(Privilege::AccessPartitionReferenceTsc), needs [];
    /// Frequencies of TSC and APIC timer; the MSRs need the feature bit too.
    AccessFrequencyRegs: Privilege(Privilege::AccessFrequencyRegs), needs [TimerFrequencies];
    /// The synthetic interrupt controller (TLFS 11).
    AccessSynicRegs: Privilege(Privilege::AccessSynicRegs), needs [];
    /// Synthetic timers (TLFS 12.5), which count reference time.
    AccessSyntheticTimerRegs: Privilege(Privilege::AccessSyntheticTimerRegs), needs [AccessPartitionReferenceCounter];
    /// EOI, ICR and TPR by MSR, and the VP assist page with EOI assist (TLFS 10.2.3, 10.3.5).
    AccessIntrCtrlRegs: Privilege(Privilege::AccessIntrCtrlRegs), needs [];
    /// Reset by MSR (TLFS 2.4.5).
    AccessResetReg: Privilege(Privilege::AccessResetReg), needs [];
    /// Sleep by MSR (TLFS 7.5); the MSR needs the feature bit too.
    AccessGuestIdleReg: Privilege(Privilege::AccessGuestIdleReg), needs [VirtualGuestIdle];
    /// HvCallGetVpRegisters and HvCallSetVpRegisters on the guest's own VPs (TLFS 7.10).
    AccessVpRegisters: Privilege(Privilege::AccessVpRegisters), needs [];
    /// HvCallStartVirtualProcessor (TLFS 7.10.3).
    StartVirtualProcessor: Privilege(Privilege::StartVirtualProcessor), needs [];
    /// Extended hypercalls (TLFS 3.14).
    EnableExtendedHypercalls: Privilege(Privilege::EnableExtendedHypercalls), needs [];
    /// HvCallGetPartitionId (TLFS 4.2.2).
    AccessPartitionId: Privilege(Privilege::AccessPartitionId), needs [];
    /// The debug transport (TLFS 4.2.2), which needs a link at the host's end.
    Debugging: Privilege(Privilege::Debugging), needs [GuestDebugging];
    /// Calls about logical processors and the system (TLFS 4.2.2).
    CpuManagement: Privilege(Privilege::CpuManagement), needs [];
    /// Messages through connections (TLFS 11.11.1).
    PostMessages: Privilege(Privilege::PostMessages), needs [];
    /// Events through connections (TLFS 11.11.2).
    SignalEvents: Privilege(Privilege::SignalEvents), needs [];

    /// Fast hypercalls with input in XMM registers (TLFS 3.7.2).
    XmmFastInput: Feature(FEATURE.with_xmm_fast_input(true)), needs [];
    /// Fast hypercalls with output in registers (TLFS 3.8.1).
    XmmFastOutput: Feature(FEATURE.with_xmm_fast_output(true)), needs [];
    /// The transport that [`Enlightenment::Debugging`] admits to.
    GuestDebugging: Feature(FEATURE.with_guest_debugging(true)), needs [Debugging];
    /// The sleep that [`Enlightenment::AccessGuestIdleReg`] admits to.
    VirtualGuestIdle: Feature(FEATURE.with_virtual_guest_idle(true)), needs [AccessGuestIdleReg];
    /// The MSRs that [`Enlightenment::AccessFrequencyRegs`] admits to.
    TimerFrequencies: Feature(FEATURE.with_timer_frequencies(true)), needs [AccessFrequencyRegs];
    /// Machine checks that the parent makes up, in a bank of their own (TLFS 7.7).
    SyntheticMachineCheck: Feature(FEATURE.with_synthetic_machine_check(true)), needs [];
    /// Crash reports (TLFS 4.3).
    GuestCrashMsrs: Feature(FEATURE.with_guest_crash_msrs(true)), needs [];
    /// Descriptor-table registers that user code may not read (TLFS 8.12).
    Npiep: Feature(FEATURE.with_npiep(true)), needs [];
    /// List flushes of large pages (TLFS 9.4.4).
    ExtendedGvaRangesForFlushVirtualAddressList:
        Feature(FEATURE.with_extended_gva_ranges_for_flush_virtual_address_list(true)),
        needs [UseHypercallForRemoteFlushAndLocalFlushEntire];
    /// SINTs that are polled (TLFS 11.8.5).
    SintPollingModeAvailable: Feature(FEATURE.with_sint_polling_mode_available(true)), needs [AccessSynicRegs];
    /// A hypercall page that stays where it is (TLFS 3.13).
    HypercallMsrLockAvailable: Feature(FEATURE.with_hypercall_msr_lock_available(true)), needs [];
    /// Synthetic timers that raise vectors (TLFS 12.2).
    UseDirectSyntheticTimers: Feature(FEATURE.with_use_direct_synthetic_timers(true)), needs [AccessSyntheticTimerRegs];
    /// A timer of the time that the VP is not halted (TLFS 12.6).
    SyntheticTimeUnhaltedTimer:
        Feature(FEATURE.with_synthetic_time_unhalted_timer(true)), needs [AccessSyntheticTimerRegs];

    /// Flushes of other VPs' translations (TLFS 9.4).
    UseHypercallForRemoteFlushAndLocalFlushEntire:
        Recommendation(ADVICE.with_use_hypercall_for_remote_flush_and_local_flush_entire(true)), needs [];
    /// Advice to switch address spaces by hypercall, which costs more than to load CR3 (TLFS 9.4.1).
    UseHypercallForAddressSpaceSwitch:
        Recommendation(ADVICE.with_use_hypercall_for_address_space_switch(true)), needs [];
    /// Advice to flush a VP's own translations by hypercall, which costs more than to do so by instruction.
    UseHypercallForLocalFlush: Recommendation(ADVICE.with_use_hypercall_for_local_flush(true)),
        needs [UseHypercallForRemoteFlushAndLocalFlushEntire];
    /// Advice to use what [`Enlightenment::AccessIntrCtrlRegs`] admits to.
    UseApicMsrs: Recommendation(ADVICE.with_use_apic_msrs(true)), needs [AccessIntrCtrlRegs];
    /// Advice to use what [`Enlightenment::AccessResetReg`] admits to.
    UseResetMsr: Recommendation(ADVICE.with_use_reset_msr(true)), needs [AccessResetReg];
    /// Nothing is served in time: watchdogs had better be off.
    UseRelaxedTiming: Recommendation(ADVICE.with_use_relaxed_timing(true)), needs [];
    /// Interrupts to many VPs (TLFS 10.5.2).
    UseSyntheticClusterIpi: Recommendation(ADVICE.with_use_synthetic_cluster_ipi(true)), needs [];
    /// The forms of flush and interrupt calls that take sparse sets (TLFS 7.8.7.3).
    UseExProcessorMasks: Recommendation(ADVICE.with_use_ex_processor_masks(true)), needs [];
}

/// Services that an ordinary guest is not offered unless its host asks for them.
const ON_REQUEST: &[Enlightenment] = &[
    Enlightenment::AccessPartitionId,
    Enlightenment::Debugging,
    Enlightenment::GuestDebugging,
    Enlightenment::CpuManagement,
    Enlightenment::UseHypercallForAddressSpaceSwitch,
    Enlightenment::UseHypercallForLocalFlush,
];

impl Enlightenment {
    /// Its name on the command line: that of its bit, in kebab case.
    #[must_use]
    pub fn name(self) -> String {
        self.bit().name()
    }

    /// Whether guests are offered it without being asked ([`Enlightenments::ALL`]).
    #[must_use]
    pub fn is_default(self) -> bool {
        Enlightenments::ALL.contains(self)
    }

    /// Everything it needs, one step deep.
    fn requirements(self) -> impl Iterator<Item = Self> {
        self.needs().iter().copied().chain([Self::AccessHypercallMsrs])
    }
}

/// A service was asked for without another that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The service that was asked for.
    pub service: Enlightenment,
    /// What it needs.
    pub needed: Enlightenment,
}

/// A set of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enlightenments(u64);

impl Enlightenments {
    /// No service: the guest finds no hypervisor.
    pub const NONE: Self = Self(0);
    /// Every service that an ordinary guest is offered.
    pub const ALL: Self = {
        let mut set = Self((1 << Enlightenment::ALL.len()) - 1);
        let mut index = 0;
        while index < ON_REQUEST.len() {
            set = set.without(ON_REQUEST[index]);
            index += 1;
        }
        set
    };

    /// Whether the service is in the set.
    #[must_use]
    pub const fn contains(self, service: Enlightenment) -> bool {
        self.0 >> service as u8 & 1 != 0
    }

    /// The set with this service.
    #[must_use]
    pub const fn with(self, service: Enlightenment) -> Self {
        Self(self.0 | 1 << service as u8)
    }

    /// The set without this service.
    #[must_use]
    pub const fn without(self, service: Enlightenment) -> Self {
        Self(self.0 & !(1 << service as u8))
    }

    /// The services of the set that an engine can stand behind.
    #[must_use]
    pub fn served_by(self, capabilities: Capabilities) -> Self {
        if capabilities.descriptor_table_guard { self } else { self.without(Enlightenment::Npiep) }
    }

    /// The set without this service and whatever needs it.
    #[must_use]
    pub fn without_dependents(self, service: Enlightenment) -> Self {
        let mut set = self.without(service);
        while let Some(Missing { service, .. }) = set.missing() {
            set = set.without(service);
        }
        set
    }

    /// The first service of the set that lacks another one.
    #[must_use]
    pub fn missing(self) -> Option<Missing> {
        let lacking = |service: Enlightenment| {
            let needed = service.requirements().find(|&needed| !self.contains(needed))?;
            Some(Missing { service, needed })
        };
        self.services().find_map(lacking)
    }

    /// The services of the set.
    pub fn services(self) -> impl Iterator<Item = Enlightenment> {
        Enlightenment::ALL.iter().copied().filter(move |&service| self.contains(service))
    }
}

/// First synthetic MSR number that no service has. All of them lie below.
const MSR_END: u32 = msr::STIME_UNHALTED_TIMER_COUNT + 1;
/// First synthetic MSR number.
pub(crate) const MSR_FIRST: u32 = msr::GUEST_OS_ID;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct MsrSet([u64; (MSR_END - MSR_FIRST).div_ceil(64) as usize]);

impl MsrSet {
    const fn insert(&mut self, number: u32) {
        let index = (number - MSR_FIRST) as usize;
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn contains(&self, number: u32) -> bool {
        let index = number.wrapping_sub(MSR_FIRST) as usize;
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
    }
}

/// Synthetic MSRs that privileges would admit but that nothing here serves: no public definition says what SIRBP does.
const UNSERVED: &[u32] = &[msr::SIRBP];

/// What a partition is offered, ready for the checks of every access.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The services it is made of.
    pub enlightenments: Enlightenments,
    /// Privileges (CPUID 0x40000003 EAX and EBX).
    pub privileges: PrivilegeMask,
    /// Features (CPUID 0x40000003 EDX).
    pub features: Features,
    /// Recommendations (CPUID 0x40000004 EAX).
    pub recommendations: Recommendations,
    readable: MsrSet,
    writable: MsrSet,
}

impl Offer {
    /// The offer that a set of services amounts to.
    #[must_use]
    pub fn new(enlightenments: Enlightenments) -> Self {
        let (mut privileges, mut features, mut recommendations) = (0u64, 0, 0);
        for service in enlightenments.services() {
            match service.bit() {
                Bit::Privilege(privilege) => privileges |= 1 << privilege.bit(),
                Bit::Feature(feature) => features |= feature.into_bits(),
                Bit::Recommendation(advice) => recommendations |= advice.into_bits(),
            }
        }
        let privileges = PrivilegeMask::from_bits(privileges);
        let (mut readable, mut writable) = (MsrSet::default(), MsrSet::default());
        let within = |info: &&msr::MsrInfo| (MSR_FIRST..MSR_END).contains(&info.number);
        for info in msr::MSRS.iter().filter(within).filter(|info| !UNSERVED.contains(&info.number)) {
            let held = info.privilege.is_none_or(|needed| privileges.holds(PrivilegeMask::of(&[needed])));
            let exists = info.feature.is_none_or(|name| {
                let field = Features::FIELDS.iter().find(|field| field.name == name);
                field.is_some_and(|field| u64::from(features) & field.mask() != 0)
            });
            // An MSR that neither a privilege nor a feature guards is nobody's to use.
            if !held || !exists || (info.privilege.is_none() && info.feature.is_none()) {
                continue;
            }
            if info.access != Access::WriteOnly {
                readable.insert(info.number);
            }
            if info.access != Access::ReadOnly {
                writable.insert(info.number);
            }
        }
        let (features, recommendations) =
            (Features::from_bits(features), Recommendations::from_bits(recommendations));
        Self { enlightenments, privileges, features, recommendations, readable, writable }
    }

    /// Whether the guest finds a hypervisor at all.
    #[must_use]
    pub fn is_present(&self) -> bool {
        self.enlightenments.contains(Enlightenment::AccessHypercallMsrs)
    }

    /// Whether the guest may read this synthetic MSR.
    #[must_use]
    pub fn may_read(&self, number: u32) -> bool {
        self.is_present() && self.readable.contains(number)
    }

    /// Whether the guest may write this synthetic MSR.
    #[must_use]
    pub fn may_write(&self, number: u32) -> bool {
        self.is_present() && self.writable.contains(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// B02.009, B04.006: each service has one bit of its own, and that bit has a name.
    #[test]
    fn every_bit_has_one_service() {
        let mut names = std::collections::BTreeSet::new();
        for &service in Enlightenment::ALL {
            assert!(!service.name().is_empty(), "{service:?} has no bit, or several");
            assert!(names.insert(service.name()), "{service:?} is offered twice");
        }
        let all = Offer::new(Enlightenments::ALL);
        let reserved = PrivilegeMask::FIELDS.iter().filter(|field| field.name.is_empty());
        assert_eq!(reserved.fold(0, |bits, field| bits | field.mask()) & all.privileges.into_bits(), 0);
        assert!(!all.privileges.create_partitions() && !all.privileges.access_tsc_invariant_controls());
    }

    /// What a service needs is in the set it is offered with, and goes with what it depends on.
    #[test]
    fn services_come_and_go_with_what_they_need() {
        assert_eq!((Enlightenments::ALL.missing(), Enlightenments::NONE.missing()), (None, None));
        for &service in Enlightenment::ALL {
            let without = Enlightenments::ALL.without_dependents(service);
            assert!(!without.contains(service) && without.missing().is_none(), "{service:?}");
        }
        let page = Enlightenment::AccessHypercallMsrs;
        assert_eq!(Enlightenments::ALL.without_dependents(page), Enlightenments::NONE);
        let timers = Enlightenments::ALL.without_dependents(Enlightenment::AccessSyntheticTimerRegs);
        assert!(!timers.contains(Enlightenment::UseDirectSyntheticTimers));
        let idle = Enlightenment::VirtualGuestIdle;
        let missing = Enlightenments::ALL.without(idle).missing();
        assert_eq!(missing, Some(Missing { service: Enlightenment::AccessGuestIdleReg, needed: idle }));
        assert_eq!(Enlightenment::AccessVpRunTimeReg.name(), "access-vp-run-time-reg");
    }

    /// What a host has to ask for is not offered to everyone, and everything else is.
    #[test]
    fn some_services_are_offered_on_request() {
        let on_request: Vec<_> = Enlightenment::ALL.iter().filter(|service| !service.is_default()).collect();
        assert_eq!(on_request.len(), ON_REQUEST.len());
        assert!(on_request.iter().all(|service| ON_REQUEST.contains(service)), "{on_request:?}");
    }

    /// B04.003: each MSR follows the privilege and the feature that the specification ties it to.
    #[test]
    fn msrs_follow_their_privileges() {
        let all = Offer::new(Enlightenments::ALL);
        assert!(all.may_read(msr::SVERSION) && !all.may_write(msr::SVERSION));
        assert!(!all.may_read(msr::EOI) && all.may_write(msr::EOI));
        assert!(!all.may_read(msr::SIRBP) && all.may_read(msr::NPIEP_CONFIG));
        assert!(!all.may_read(msr::TSC_INVARIANT_CONTROL) && !all.may_read(msr::NESTED_VP_INDEX));
        let without = Offer::new(
            Enlightenments::ALL
                .without(Enlightenment::AccessSynicRegs)
                .without(Enlightenment::GuestCrashMsrs),
        );
        for number in [msr::SCONTROL, msr::SINT15, msr::EOM, msr::CRASH_P0, msr::CRASH_CTL] {
            assert!(all.may_write(number) && !without.may_write(number) && !without.may_read(number));
        }
        assert!(without.may_write(msr::STIMER0_COUNT));
        assert!(!Offer::new(Enlightenments::NONE).may_read(msr::GUEST_OS_ID));
    }
}
