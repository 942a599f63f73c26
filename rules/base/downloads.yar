// Programs and documents that come over plain HTTP or in a stream.

rule EICAR_Test_File
{
    meta:
        title = "EICAR test file"
        id = "77197354-86eb-425a-b6da-f86fd15a07b2"
        sid = 1001001
        rev = 1
        status = "stable"
        level = "medium"
        description = "The harmless file by which scanners are tried out, at the start of a body."
        author = "the project"
        date = "2026-11-21"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
        tags = "attack.t1105"
        falsepositives = "Somebody tries out a scanner"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "file.data"
    strings:
        $head = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$"
        $name = "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!"
        $tail = "$H+H*"
    condition:
        $head at 0 and $name in (20..40) and $tail
}

rule UPX_Packed_PE
{
    meta:
        title = "Windows program packed with UPX over plain HTTP"
        id = "65c02423-99d9-4552-a39a-7bb46e6e470a"
        sid = 1001002
        rev = 1
        status = "stable"
        level = "medium"
        description = "A PE file whose sections are UPX's, in a response."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1027/002/"
        tags = "attack.t1027.002, attack.t1105"
        falsepositives = "Small tools that are distributed packed"
        classtype = "bad-unknown"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $section0 = "UPX0\x00\x00\x00\x00"
        $section1 = "UPX1\x00\x00\x00\x00"
    condition:
        uint16(0) == 0x5A4D and uint32(0x3C) < 0x1000 and uint32(uint32(0x3C)) == 0x00004550
        and $section0 in (0..0x1400) and $section1 in (0..0x1400)
}

rule UPX_Packed_ELF
{
    meta:
        title = "Linux program packed with UPX over plain HTTP"
        id = "485f3649-18ea-406a-853e-6af8aea4ca62"
        sid = 1001003
        rev = 1
        status = "stable"
        level = "high"
        description = "An ELF file with UPX's header, in a response: how bots for small devices come."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1027/002/"
        tags = "attack.t1027.002, attack.t1105"
        falsepositives = "Small tools that are distributed packed"
        classtype = "trojan-activity"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $magic = "UPX!"
        $note = "$Info: This file is packed with the UPX executable packer"
    condition:
        uint32(0) == 0x464C457F and ($magic in (0..0x400) or $note)
}

rule PE_Disguised_As_Media
{
    meta:
        title = "Windows program behind a picture's header"
        id = "c68fe5c5-d518-46db-919a-80059680b2f6"
        sid = 1001004
        rev = 1
        status = "test"
        level = "high"
        description = "A response that begins as a GIF, PNG or JPEG and holds a PE file with its DOS stub."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1027/009/"
        tags = "attack.t1027.009, attack.t1036.008, attack.t1105"
        falsepositives = "None known"
        classtype = "trojan-activity"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $stub = "This program cannot be run in DOS mode"
        $pe = "PE\x00\x00"
    condition:
        (uint32be(0) == 0x47494638 or uint32be(0) == 0x89504E47 or uint16be(0) == 0xFFD8) and $stub and $pe
}

rule Equation_Editor_RTF
{
    meta:
        title = "RTF document with an Equation Editor object"
        id = "f328954c-6e48-4481-b334-ec11977472be"
        sid = 1001005
        rev = 1
        status = "stable"
        level = "high"
        description = "An RTF document that embeds an Equation.3 object, the carrier of CVE-2017-11882 and CVE-2018-0802."
        author = "the project"
        date = "2026-11-21"
        reference = "https://nvd.nist.gov/vuln/detail/CVE-2017-11882"
        tags = "attack.t1203, attack.t1566.001, cve.2017-11882, cve.2018-0802"
        falsepositives = "Documents from before 2007 with formulas"
        classtype = "attempted-user"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $rtf = "{\\rt"
        $object = "\\objdata"
        $class_hex = "4571756174696F6E2E33" nocase  // Equation.3
        $clsid_hex = "02CE020000000000C000000000000046" nocase
    condition:
        $rtf at 0 and $object and any of ($class_hex, $clsid_hex)
}

rule Shortcut_Starts_Script
{
    meta:
        title = "Shortcut that starts a script from elsewhere"
        id = "a3a5eb1a-17cc-4ff0-8b74-bea2370c8b20"
        sid = 1001006
        rev = 1
        status = "stable"
        level = "high"
        description = "A Windows shortcut (LNK) whose arguments have a script host fetch something, or hide: by mail or download, it opens an intrusion."
        author = "the project"
        date = "2026-11-22"
        reference = "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-shllink/"
        tags = "attack.t1204.002, attack.t1027.012, attack.t1059"
        falsepositives = "Shortcuts that an administrator hands out for scripts"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "file.data"
    strings:
        // Arguments are UTF-16. The header is the size of itself and the class of shortcuts
        $program1 = "powershell" wide nocase
        $program2 = "mshta" wide nocase
        $program3 = "wscript" wide nocase
        $program4 = "cmd.exe" wide nocase
        $program5 = "rundll32" wide nocase
        $fetch1 = "http://" wide nocase
        $fetch2 = "https://" wide nocase
        $fetch3 = "@SSL\\" wide nocase
        $hidden = "hidden" wide nocase
        $encoded = " -enc" wide nocase
    condition:
        uint32be(0) == 0x4C000000 and uint32be(4) == 0x01140200 and uint32be(12) == 0xC0000000
        and any of ($program*) and any of ($fetch*, $hidden, $encoded) and filesize < 1MB
}

rule OneNote_With_Program
{
    meta:
        title = "OneNote document with a program or script in it"
        id = "be7258a7-a0c5-46df-a332-923677a02172"
        sid = 1001007
        rev = 1
        status = "stable"
        level = "high"
        description = "A OneNote section with an embedded program, shortcut, batch file or HTML application: a double click on the picture over it starts it."
        author = "the project"
        date = "2026-11-22"
        reference = "https://learn.microsoft.com/en-us/openspecs/office_file_formats/ms-onestore/"
        tags = "attack.t1204.002, attack.t1566.001, attack.t1027.009"
        falsepositives = "Notes of people who keep their scripts in them"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "file.data"
    strings:
        // A FileDataStoreObject is a GUID, a size of 8 bytes, 12 bytes of nothing, and the file
        $file = { e7 16 e3 bd 65 26 11 45 a4 c4 8d 4d 0b 7a 9e ac }
        $program = { e7 16 e3 bd 65 26 11 45 a4 c4 8d 4d 0b 7a 9e ac [20] 4d 5a }
        $shortcut = { e7 16 e3 bd 65 26 11 45 a4 c4 8d 4d 0b 7a 9e ac [20] 4c 00 00 00 01 14 02 00 }
        $batch = { e7 16 e3 bd 65 26 11 45 a4 c4 8d 4d 0b 7a 9e ac [20] 40 (45 | 65) (43 | 63) (48 | 68) (4f | 6f) 20 }
        $application = "<HTA:APPLICATION" nocase
        $host = "WScript.Shell" nocase
    condition:
        uint32be(0) == 0xE4525C7B and uint32be(4) == 0x8CD8A74D and uint32be(8) == 0xAEB15378
        and (any of ($program, $shortcut, $batch) or ($file and any of ($application, $host)))
}
