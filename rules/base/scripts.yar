// Scripts in bodies: shells for web servers, droppers, download cradles.

rule PHP_Web_Shell
{
    meta:
        title = "PHP web shell in a body"
        id = "f66dde32-5524-43a7-9765-e6a521e5b893"
        sid = 1001041
        rev = 1
        status = "stable"
        level = "critical"
        description = "PHP that runs a request parameter, or evaluates code that it unpacks first."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1505/003/"
        tags = "attack.t1505.003, attack.t1190"
        falsepositives = "Packed commercial PHP code; malware repositories"
        classtype = "web-application-attack"
        traffic = "http any any -> any any"
        flow = "established"
        scope = "file.data"
    strings:
        $open = /<\?(php|=)/ nocase
        $run = /\b(system|passthru|shell_exec|exec|popen|assert|eval)\s{0,8}\(\s{0,8}@?\$_(GET|POST|REQUEST|COOKIE)\s{0,4}\[/ nocase
        $unpack = /\beval\s{0,8}\(\s{0,8}(gzinflate|gzuncompress|str_rot13)\s{0,8}\(\s{0,8}(base64_decode|str_rot13|gzinflate)\s{0,8}\(/ nocase
    condition:
        $open and any of ($run, $unpack)
}

rule JSP_Web_Shell
{
    meta:
        title = "JSP web shell in a body"
        id = "75293c4c-072f-43fe-a774-4b7ee367ba9c"
        sid = 1001042
        rev = 1
        status = "stable"
        level = "critical"
        description = "A server page that gives a request parameter to the operating system, or defines a class from it."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1505/003/"
        tags = "attack.t1505.003, attack.t1190"
        falsepositives = "Malware repositories, pages that teach it"
        classtype = "web-application-attack"
        traffic = "http any any -> any any"
        flow = "established"
        scope = "file.data"
    strings:
        $page = "<%"
        $parameter = "request.getParameter("
        $exec = "getRuntime().exec("
        $builder = "new ProcessBuilder("
        $define = "defineClass("
        $decode = "decodeBuffer("
    condition:
        $page and $parameter and (any of ($exec, $builder) or all of ($define, $decode))
}

rule PowerShell_Encoded_Command
{
    meta:
        title = "PowerShell started with a long encoded command"
        id = "4f25e96d-2d1c-4d11-8cfd-09bb9a6d5b34"
        sid = 1001043
        rev = 2
        status = "stable"
        level = "high"
        description = "A script or document that starts PowerShell hidden or without a profile, with an encoded command of UTF-16 text."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1059/001/"
        tags = "attack.t1059.001, attack.t1027.010"
        falsepositives = "Deployment tools that hand scripts over this way"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "stream"
    strings:
        // Base64 of UTF-16 text, three letters in eight characters: the zero bytes show as A or B at fixed places
        $shell = "powershell" nocase
        $encoded = /-e(nc|ncodedcommand)?\s{1,4}["']?([A-Za-z0-9+\/]{2}[AB][A-Za-z0-9+\/]A[A-Za-z0-9+\/]{2}A){10}/ nocase
        $hidden = /-w(indowstyle)?\s{1,4}(hidden|1)\b/ nocase
        $bare = /-nop(rofile)?\b/ nocase
    condition:
        // One regex for both, with a gap, would search the gap anew at each repeated "powershell". So the gap is measured:
        // 118 bytes before the command. A page of 32 such commands needs no measuring, and is not measured.
        $shell and $encoded and any of ($hidden, $bare)
        and (#encoded > 32 or for any i in (1..#encoded) : ($shell in (@encoded[i] - 118..@encoded[i])))
}

rule Script_Dropper
{
    meta:
        title = "Script that downloads a program and starts it"
        id = "380a6d70-90e9-47b1-a787-fb737530ef40"
        sid = 1001044
        rev = 1
        status = "stable"
        level = "high"
        description = "VBScript, JScript or HTA with a download by XMLHTTP, a file written by ADODB.Stream, and a shell to start it."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1059/005/"
        tags = "attack.t1059.005, attack.t1059.007, attack.t1105"
        falsepositives = "Old installers for intranets"
        classtype = "trojan-activity"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        $fetch = /(MSXML2|Microsoft)\.(Server)?XMLHTTP/ nocase
        $write = "ADODB.Stream" nocase
        $save = ".SaveToFile" nocase
        $shell1 = "WScript.Shell" nocase
        $shell2 = "Shell.Application" nocase
    condition:
        $fetch and $write and $save and any of ($shell*) and filesize < 1MB
}

rule Bot_Loader_Shell_Script
{
    meta:
        title = "Shell script that loads a bot for many processors"
        id = "d8b863b1-7e5e-45e7-8676-7d2c4d2a8500"
        sid = 1001045
        rev = 2
        status = "stable"
        level = "high"
        description = "A script that fetches programs for several processors, makes each executable, runs it and removes it."
        author = "the project"
        date = "2026-11-21"
        reference = "https://attack.mitre.org/techniques/T1059/004/"
        tags = "attack.t1059.004, attack.t1105"
        falsepositives = "Installers that try several builds; they seldom remove what they run"
        classtype = "trojan-activity"
        traffic = "http any any -> any any"
        flow = "established, to_client"
        scope = "http.response_body"
    strings:
        // Gaps are single words: others would be searched anew at each repeated beginning
        $fetch = /\b(wget|curl -O|tftp -g)\s/
        $processor = /[.\/](mips|mipsel|mpsl|arm[4-7]?|x86|x86_64|sh4|ppc|m68k|spc)\b/
        $run = /chmod (777|\+x) [^\s;]{1,80}(\s[^\s;]{1,80})?\s?;\s?\.\//
        $remove = /rm -rf? [^\r\n]/
    condition:
        #fetch >= 3 and #processor >= 3 and #run >= 3 and $remove and filesize < 64KB
}

rule Java_Deserialisation_Gadget
{
    meta:
        title = "Serialised Java object of a known gadget chain"
        id = "00c5b873-7d11-42a3-843b-a12e5f08f72b"
        sid = 1001046
        rev = 1
        status = "stable"
        level = "critical"
        description = "A Java serialisation stream with the classes of a published chain that starts programs."
        author = "the project"
        date = "2026-11-21"
        reference = "https://cwe.mitre.org/data/definitions/502.html"
        tags = "attack.t1190, attack.t1203, cve.2015-4852, cwe.502"
        falsepositives = "None known"
        classtype = "attempted-admin"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "stream"
    strings:
        $stream = { ac ed 00 05 (73 | 77 | 7d) }
        $gadget1 = "org.apache.commons.collections.functors.InvokerTransformer"
        $gadget2 = "org.apache.commons.collections.functors.ChainedTransformer"
        $gadget3 = "org.apache.commons.collections4.functors.InvokerTransformer"
        $gadget4 = "com.sun.org.apache.xalan.internal.xsltc.trax.TemplatesImpl"
        $gadget5 = "org.apache.commons.beanutils.BeanComparator"
        $gadget6 = "org.codehaus.groovy.runtime.MethodClosure"
    condition:
        $stream and any of ($gadget*)
}

rule HTML_Smuggling
{
    meta:
        title = "Page that carries a program or archive and offers it itself"
        id = "35c5821f-264a-4f1c-884a-4f63a5269fae"
        sid = 1001047
        rev = 1
        status = "test"
        level = "high"
        description = "HTML whose script decodes an archive or program from its own text and has the browser save it, past what looks at downloads."
        author = "the project"
        date = "2026-11-22"
        reference = "https://attack.mitre.org/techniques/T1027/006/"
        tags = "attack.t1027.006, attack.t1566.001, attack.t1204.002"
        falsepositives = "Applications that make documents in the browser from a template in their script"
        classtype = "trojan-activity"
        traffic = "tcp any any -> any any"
        flow = "established"
        scope = "file.data"
    strings:
        $script = "<script" nocase
        $decode = "atob("
        $blob = "new Blob("
        $offer1 = "msSaveOrOpenBlob("
        $offer2 = "msSaveBlob("
        $offer3 = "createObjectURL("
        // Base64 of what ZIP, PE, 7z and RAR files begin with, as a string of the script
        $file = /["'`](UEsDB|TVqQ|TVpQ|TVoA|N3q8ry|UmFyIRoH)[A-Za-z0-9+\/]{48}/
    condition:
        $script and $decode and $blob and any of ($offer*) and $file
}
