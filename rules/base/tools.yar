// Tools of intruders, by strings that their builds have in common.

rule Mimikatz
{
    meta:
        title = "Mimikatz"
        id = "f7f4ebfe-0da8-4e4d-a477-f6729021f5e0"
        sid = 1001021
        rev = 1
        status = "stable"
        level = "critical"
        description = "Strings of Mimikatz, as a program or as PowerShell script, in any stream or body."
        author = "the project"
        date = "2026-11-21"
        reference = "https://github.com/gentilkiwi/mimikatz"
        tags = "attack.t1003.001, attack.s0002, attack.t1105"
        falsepositives = "Source code and pages about the tool hold one of the strings, seldom three"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "stream"
    strings:
        $author = "gentilkiwi" ascii wide nocase
        $module1 = "sekurlsa::logonpasswords" ascii wide nocase
        $module2 = "kuhl_m_sekurlsa" ascii wide
        $module3 = "kuhl_m_lsadump" ascii wide
        $motto = "A La Vie, A L'Amour" ascii wide
        $format = "mimikatz(commandline) # %s" ascii wide
    condition:
        3 of them
}

rule Meterpreter_Stage
{
    meta:
        title = "Meterpreter library"
        id = "7362670a-a5bc-4e01-9019-034ddb15e363"
        sid = 1001022
        rev = 1
        status = "stable"
        level = "critical"
        description = "A library with the exports and extension commands of Meterpreter, sent as the second stage."
        author = "the project"
        date = "2026-11-21"
        reference = "https://docs.metasploit.com/docs/using-metasploit/advanced/meterpreter/"
        tags = "attack.t1105, attack.t1620"
        falsepositives = "Downloads of Metasploit itself over plain HTTP"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established, to_client"
        scope = "stream"
    strings:
        $stub = "This program cannot be run in DOS mode"
        $loader = "ReflectiveLoader"
        $library = "metsrv."
        $command1 = "core_channel_open"
        $command2 = "stdapi_"
        $command3 = "core_loadlib"
        $extension = "ext_server_"
    condition:
        $stub and ($loader or $library) and 1 of ($command*, $extension)
}

rule Cobalt_Strike_Beacon_Settings
{
    meta:
        title = "Cobalt Strike beacon settings"
        id = "08a78081-1eb8-4558-a542-9383dd14a167"
        sid = 1001023
        rev = 1
        status = "stable"
        level = "critical"
        description = "The first entries of a beacon's settings block (type, port, interval), plain or under its default keys 0x2E and 0x69."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/software/S0154/"
        tags = "attack.t1105, attack.t1071.001, attack.s0154"
        falsepositives = "None known"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established, to_client"
        scope = "stream"
    strings:
        // 16-bit id, type and length of each entry: 1 short 2 (beacon type), 2 short 2 (port), 3 int 4 (interval), 4 int 4
        $plain = { 00 01 00 01 00 02 00 ?? 00 02 00 01 00 02 ?? ?? 00 03 00 02 00 04 ?? ?? ?? ?? 00 04 00 02 00 04 }
        $key2e = { 2e 2f 2e 2f 2e 2c 2e ?? 2e 2c 2e 2f 2e 2c ?? ?? 2e 2d 2e 2c 2e 2a ?? ?? ?? ?? 2e 2a 2e 2c 2e 2a }
        $key69 = { 69 68 69 68 69 6b 69 ?? 69 6b 69 68 69 6b ?? ?? 69 6a 69 6b 69 6d ?? ?? ?? ?? 69 6d 69 6b 69 6d }
    condition:
        any of them
}

rule XMRig_Settings
{
    meta:
        title = "Settings of the miner XMRig"
        id = "ee901584-ff4b-4685-b862-c9d7dac31436"
        sid = 1001024
        rev = 1
        status = "stable"
        level = "high"
        description = "A JSON file with XMRig's keys and a pool, as droppers fetch it beside the program."
        author = "the project"
        date = "2026-11-21"
        reference = "https://xmrig.com/docs/miner/config"
        tags = "attack.t1496, attack.t1105"
        falsepositives = "Miners that the owner runs"
        classtype = "coin-mining"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $donate = "\"donate-level\""
        $pools = "\"pools\""
        $coin = "\"randomx\""
        $pages = "\"huge-pages\""
        $pool = "\"url\""
    condition:
        $donate and $pools and $pool and any of ($coin, $pages) and filesize < 64KB
}
