# SPDX-License-Identifier: MIT OR Apache-2.0
"""Lists the keys of a HyperVStorage file as dissect.hypervisor reads them: paths and values as JSON."""

import json
import sys
import zlib

from dissect.hypervisor.descriptor.hyperv import HyperVFile


def flatten(path, value, keys):
    if isinstance(value, dict):
        for name, child in value.items():
            flatten(f"{path}/{name}", child, keys)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        value = bytes(value)
        keys[path] = {"size": len(value), "crc32": f"{zlib.crc32(value):08x}"}
    else:
        keys[path] = value


with open(sys.argv[1], "rb") as file:
    keys = {}
    flatten("", HyperVFile(file).as_dict(), keys)
    json.dump(keys, sys.stdout)
