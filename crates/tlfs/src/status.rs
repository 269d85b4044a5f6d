// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a hypercall answers (TLFS 3.12, Appendix B).

use crate::declare::open_enum;

open_enum! {
    /// `HV_STATUS`: the 16-bit outcome of a hypercall, in bits 15:0 of its result value (TLFS 1.6, Appendix B).
    pub struct HvStatus(u16);
    /// Done as asked (TLFS Appendix B).
    SUCCESS = 0x0000, "HV_STATUS_SUCCESS";
    /// No call has this code, or not for this caller (TLFS Appendix B).
    INVALID_HYPERCALL_CODE = 0x0002, "HV_STATUS_INVALID_HYPERCALL_CODE";
    /// The control word is malformed: rep fields, variable header size or reserved bits (TLFS Appendix B).
    INVALID_HYPERCALL_INPUT = 0x0003, "HV_STATUS_INVALID_HYPERCALL_INPUT";
    /// A parameter address is unaligned, crosses a page or lies outside the GPA space (TLFS Appendix B).
    INVALID_ALIGNMENT = 0x0004, "HV_STATUS_INVALID_ALIGNMENT";
    /// A parameter has a value that the call does not take (TLFS Appendix B).
    INVALID_PARAMETER = 0x0005, "HV_STATUS_INVALID_PARAMETER";
    /// The caller lacks a privilege or a relation to the object; wins over codes that reveal state (TLFS Appendix B).
    ACCESS_DENIED = 0x0006, "HV_STATUS_ACCESS_DENIED";
    /// The partition is in a state that forbids the call (TLFS Appendix B).
    INVALID_PARTITION_STATE = 0x0007, "HV_STATUS_INVALID_PARTITION_STATE";
    /// The call is understood and permitted, but cannot be done now (TLFS Appendix B).
    OPERATION_DENIED = 0x0008, "HV_STATUS_OPERATION_DENIED";
    /// No property has this code (TLFS Appendix B).
    UNKNOWN_PROPERTY = 0x0009, "HV_STATUS_UNKNOWN_PROPERTY";
    /// The property exists and does not take this value (TLFS Appendix B).
    PROPERTY_VALUE_OUT_OF_RANGE = 0x000A, "HV_STATUS_PROPERTY_VALUE_OUT_OF_RANGE";
    /// The memory pool is too small; deposit pages and call again (TLFS Appendix B).
    INSUFFICIENT_MEMORY = 0x000B, "HV_STATUS_INSUFFICIENT_MEMORY";
    /// Partitions are nested too deeply (TLFS Appendix B).
    PARTITION_TOO_DEEP = 0x000C, "HV_STATUS_PARTITION_TOO_DEEP";
    /// No partition that the caller can name has this id (TLFS Appendix B).
    INVALID_PARTITION_ID = 0x000D, "HV_STATUS_INVALID_PARTITION_ID";
    /// The partition has no VP with this index (TLFS Appendix B).
    INVALID_VP_INDEX = 0x000E, "HV_STATUS_INVALID_VP_INDEX";
    /// The port does not exist, or exists already (TLFS Appendix B).
    INVALID_PORT_ID = 0x0011, "HV_STATUS_INVALID_PORT_ID";
    /// The connection does not exist, or exists already (TLFS Appendix B).
    INVALID_CONNECTION_ID = 0x0012, "HV_STATUS_INVALID_CONNECTION_ID";
    /// The port has no free message buffer. Printed as 0x0033 in places, which is another status (TLFS Appendix B).
    INSUFFICIENT_BUFFERS = 0x0013, "HV_STATUS_INSUFFICIENT_BUFFERS";
    /// The external interrupt to clear was not asserted and acknowledged before (TLFS Appendix B).
    NOT_ACKNOWLEDGED = 0x0014, "HV_STATUS_NOT_ACKNOWLEDGED";
    /// The VP is in a state that forbids the call (TLFS Appendix B).
    INVALID_VP_STATE = 0x0015, "HV_STATUS_INVALID_VP_STATE";
    /// The external interrupt was acknowledged earlier and not cleared since (TLFS Appendix B).
    ACKNOWLEDGED = 0x0016, "HV_STATUS_ACKNOWLEDGED";
    /// Save or restore was not started (TLFS Appendix B).
    INVALID_SAVE_RESTORE_STATE = 0x0017, "HV_STATUS_INVALID_SAVE_RESTORE_STATE";
    /// The target SynIC, its page or its SINT is disabled (TLFS Appendix B).
    INVALID_SYNIC_STATE = 0x0018, "HV_STATUS_INVALID_SYNIC_STATE";
    /// The object is busy in a way that excludes the call (TLFS Appendix B).
    OBJECT_IN_USE = 0x0019, "HV_STATUS_OBJECT_IN_USE";
    /// The proximity domain or its flags are unknown (TLFS Appendix B).
    INVALID_PROXIMITY_DOMAIN_INFO = 0x001A, "HV_STATUS_INVALID_PROXIMITY_DOMAIN_INFO";
    /// There is nothing to return (TLFS Appendix B).
    NO_DATA = 0x001B, "HV_STATUS_NO_DATA";
    /// The debug connection has received nothing since the last call (TLFS Appendix B).
    INACTIVE = 0x001C, "HV_STATUS_INACTIVE";
    /// A limit of the implementation was reached (TLFS Appendix B).
    NO_RESOURCES = 0x001D, "HV_STATUS_NO_RESOURCES";
    /// The feature is not offered to this caller (TLFS Appendix B).
    FEATURE_UNAVAILABLE = 0x001E, "HV_STATUS_FEATURE_UNAVAILABLE";
    /// Only a part of the debug packet was returned (TLFS Appendix B).
    PARTIAL_PACKET = 0x001F, "HV_STATUS_PARTIAL_PACKET";
    /// The state to restore needs a processor feature that is missing here (TLFS Appendix B).
    PROCESSOR_FEATURE_NOT_SUPPORTED = 0x0020, "HV_STATUS_PROCESSOR_FEATURE_NOT_SUPPORTED";
    /// The state to restore was made with another cache line flush size (TLFS Appendix B).
    PROCESSOR_CACHE_LINE_FLUSH_SIZE_INCOMPATIBLE = 0x0030, "HV_STATUS_PROCESSOR_CACHE_LINE_FLUSH_SIZE_INCOMPATIBLE";
    /// The caller's buffer cannot hold the whole result (TLFS Appendix B).
    INSUFFICIENT_BUFFER = 0x0033, "HV_STATUS_INSUFFICIENT_BUFFER";
    /// The processor is of another kind (TLFS Appendix B).
    INCOMPATIBLE_PROCESSOR = 0x0037, "HV_STATUS_INCOMPATIBLE_PROCESSOR";
    /// No device domain is left (TLFS Appendix B).
    INSUFFICIENT_DEVICE_DOMAINS = 0x0038, "HV_STATUS_INSUFFICIENT_DEVICE_DOMAINS";
    /// The new logical processor reports other CPUID features (TLFS Appendix B).
    CPUID_FEATURE_VALIDATION_ERROR = 0x003C, "HV_STATUS_CPUID_FEATURE_VALIDATION_ERROR";
    /// The new logical processor reports other XSAVE features (TLFS Appendix B).
    CPUID_XSAVE_FEATURE_VALIDATION_ERROR = 0x003D, "HV_STATUS_CPUID_XSAVE_FEATURE_VALIDATION_ERROR";
    /// The new logical processor did not come up in time (TLFS Appendix B).
    PROCESSOR_STARTUP_TIMEOUT = 0x003E, "HV_STATUS_PROCESSOR_STARTUP_TIMEOUT";
    /// The firmware has left SMX enabled (TLFS Appendix B).
    SMX_ENABLED = 0x003F, "HV_STATUS_SMX_ENABLED";
    /// There is no logical processor with this index (TLFS Appendix B).
    INVALID_LP_INDEX = 0x0041, "HV_STATUS_INVALID_LP_INDEX";
    /// The register does not take this value (TLFS Appendix B).
    INVALID_REGISTER_VALUE = 0x0050, "HV_STATUS_INVALID_REGISTER_VALUE";
    /// The VTL is in a state that forbids the call (TLFS 7.10, 15.15; the number is public).
    INVALID_VTL_STATE = 0x0051, "HV_STATUS_INVALID_VTL_STATE";
    /// The processor lacks no-execute pages (TLFS Appendix B).
    NX_NOT_DETECTED = 0x0055, "HV_STATUS_NX_NOT_DETECTED";
    /// There is no device with this id (TLFS Appendix B).
    INVALID_DEVICE_ID = 0x0057, "HV_STATUS_INVALID_DEVICE_ID";
    /// The device is in a state that forbids the call (TLFS Appendix B).
    INVALID_DEVICE_STATE = 0x0058, "HV_STATUS_INVALID_DEVICE_STATE";
    /// Page requests of the device were pending and are now dropped (TLFS Appendix B).
    PENDING_PAGE_REQUESTS = 0x0059, "HV_STATUS_PENDING_PAGE_REQUESTS";
    /// The page request asks for an access that the guest may not make (TLFS Appendix B).
    PAGE_REQUEST_INVALID = 0x0060, "HV_STATUS_PAGE_REQUEST_INVALID";
    /// The key is taken (later than TLFS 6.0; the number is public).
    KEY_ALREADY_EXISTS = 0x0065, "HV_STATUS_KEY_ALREADY_EXISTS";
    /// The device is attached to the domain already (later than TLFS 6.0; the number is public).
    DEVICE_ALREADY_IN_DOMAIN = 0x0066, "HV_STATUS_DEVICE_ALREADY_IN_DOMAIN";
    /// There is no CPU group with this id (later than TLFS 6.0; the number is public).
    INVALID_CPU_GROUP_ID = 0x006F, "HV_STATUS_INVALID_CPU_GROUP_ID";
    /// The CPU group is in a state that forbids the call (later than TLFS 6.0; the number is public).
    INVALID_CPU_GROUP_STATE = 0x0070, "HV_STATUS_INVALID_CPU_GROUP_STATE";
    /// The operation was tried and failed (TLFS Appendix B).
    OPERATION_FAILED = 0x0071, "HV_STATUS_OPERATION_FAILED";
    /// Excluded while a VP uses nested virtualization (TLFS Appendix B).
    NOT_ALLOWED_WITH_NESTED_VIRT_ACTIVE = 0x0072, "HV_STATUS_NOT_ALLOWED_WITH_NESTED_VIRT_ACTIVE";
    /// The root's memory pool is too small (later than TLFS 6.0; the number is public).
    INSUFFICIENT_ROOT_MEMORY = 0x0073, "HV_STATUS_INSUFFICIENT_ROOT_MEMORY";
    /// The event buffer was freed before (later than TLFS 6.0; the number is public).
    EVENT_BUFFER_ALREADY_FREED = 0x0074, "HV_STATUS_EVENT_BUFFER_ALREADY_FREED";
    /// The pool has no run of pages that is long enough (later than TLFS 6.0; the number is public).
    INSUFFICIENT_CONTIGUOUS_MEMORY = 0x0075, "HV_STATUS_INSUFFICIENT_CONTIGUOUS_MEMORY";
    /// Not finished in time (later than TLFS 6.0; the number is public).
    TIMEOUT = 0x0078, "HV_STATUS_TIMEOUT";
    /// Started; the outcome comes later (later than TLFS 6.0; the number is public).
    CALL_PENDING = 0x0079, "HV_STATUS_CALL_PENDING";
    /// The root's pool has no run of pages that is long enough (later than TLFS 6.0; the number is public).
    INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY = 0x0083, "HV_STATUS_INSUFFICIENT_CONTIGUOUS_ROOT_MEMORY";
    /// The VTL was enabled before (later than TLFS 6.0; the number is public).
    VTL_ALREADY_ENABLED = 0x0086, "HV_STATUS_VTL_ALREADY_ENABLED";
    /// No register has this name (later than TLFS 6.0; the number is public).
    UNKNOWN_REGISTER_NAME = 0x0087, "HV_STATUS_UNKNOWN_REGISTER_NAME";
}

impl HvStatus {
    /// True for SUCCESS only.
    pub const fn is_success(self) -> bool {
        self.0 == Self::SUCCESS.0
    }
}
