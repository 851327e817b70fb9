package useragent

// system is an operating system, and the device where its name is one. The
// highest rank of a text is meant: an Android is a Linux, too, and an iPhone "like
// Mac OS X".
type system struct {
	name   string
	rank   int8
	device string
}

var systems = map[string]system{
	"linux": {"Linux", 1, ""}, "x11": {"Linux", 1, ""}, "ubuntu": {"Linux", 2, ""}, "uos": {"Linux", 2, ""}, "kylin": {"Linux", 2, ""},
	"freebsd": {"FreeBSD", 3, ""}, "openbsd": {"OpenBSD", 3, ""},
	"darwin": {"Darwin", 1, ""}, "mac": {"macOS", 2, ""}, "macintosh": {"macOS", 3, ""},
	"windows": {"Windows", 4, ""}, "win32": {"Windows", 3, ""}, "win64": {"Windows", 3, ""}, "windowspowershell": {"Windows", 4, ""},
	"cros": {"ChromeOS", 5, ""}, "android": {"Android", 6, ""}, "harmonyos": {"HarmonyOS", 7, ""}, "openharmony": {"HarmonyOS", 7, ""},
	"ios": {"iOS", 5, ""}, "iphone": {"iOS", 6, "iPhone"}, "ipad": {"iOS", 6, "iPad"}, "ipod": {"iOS", 6, "iPod"},
}

// products are the clients, by their names in small letters. Ranks: 100 what
// looks for holes, however it dresses; 70 crawlers; 60 programs that say so,
// below them what is only said beside; 50 apps in whose frame a page is shown; 30
// browsers made of another; 10 to 20 those others.
var products = map[string]product{}

func add(kind string, rank int8, names map[string]string) {
	for key, name := range names {
		products[key] = product{name, rank, kind}
	}
}

func init() {
	add(Scanner, 100, map[string]string{
		"sqlmap": "sqlmap", "nikto": "Nikto", "nmap": "Nmap", "masscan": "masscan", "zgrab": "zgrab", "zmap": "ZMap", "nessus": "Nessus",
		"openvas": "OpenVAS", "acunetix": "Acunetix", "acunetix_wvs_security_test": "Acunetix", "netsparker": "Netsparker", "invicti": "Invicti",
		"appscan": "AppScan", "w3af": "w3af", "arachni": "Arachni", "wpscan": "WPScan", "nuclei": "Nuclei", "dirbuster": "DirBuster", "dirb": "DIRB",
		"dirsearch": "dirsearch", "gobuster": "gobuster", "feroxbuster": "feroxbuster", "ffuf": "ffuf", "wfuzz": "Wfuzz", "hydra": "Hydra",
		"medusa": "Medusa", "havij": "Havij", "pangolin": "Pangolin", "zap": "ZAP", "owasp": "ZAP", "burp": "Burp", "burpcollaborator": "Burp",
		"zmeu": "ZmEu", "morfeus": "Morfeus", "jorgee": "Jorgee", "commix": "commix", "joomscan": "JoomScan", "whatweb": "WhatWeb", "skipfish": "skipfish",
		"vega": "Vega", "grabber": "Grabber", "jaeles": "Jaeles", "xray": "xray", "goby": "Goby", "pocsuite": "Pocsuite", "pocsuite3": "Pocsuite", "awvs": "Acunetix",
		"antsword": "antSword", "metasploit": "Metasploit", "httprobe": "httprobe", "l9explore": "l9explore", "l9tcpid": "l9tcpid", "shodan": "Shodan",
		"censysinspect": "Censys", "internetmeasurement": "InternetMeasurement", "expanse": "Expanse", "netcraftsurveyagent": "Netcraft", "zoomeye": "ZoomEye", "fofa": "FOFA",
		"odin": "Odin", "leakix": "LeakIX", "fool": "ffuf", "thc-hydra": "Hydra", "patator": "Patator", "xspider": "XSpider", "rsas": "RSAS", "webcruiser": "WebCruiser",
	})
	add(Spider, 72, map[string]string{
		"googlebot": "Googlebot", "googlebot-image": "Googlebot", "bingbot": "bingbot", "baiduspider": "Baiduspider", "baiduspider-render": "Baiduspider",
		"sogou": "Sogou", "360spider": "360Spider", "haosouspider": "360Spider", "yisouspider": "YisouSpider", "bytespider": "Bytespider",
		"petalbot": "PetalBot", "yandexbot": "YandexBot", "duckduckbot": "DuckDuckBot", "slurp": "Yahoo Slurp", "facebookexternalhit": "Facebook",
		"gptbot": "GPTBot", "claudebot": "ClaudeBot", "ccbot": "CCBot", "amazonbot": "Amazonbot", "ia_archiver": "ia_archiver", "heritrix": "Heritrix",
		"semrushbot": "SemrushBot", "ahrefsbot": "AhrefsBot", "mj12bot": "MJ12bot", "dotbot": "DotBot", "applebot": "Applebot",
	})
	add(Program, 60, map[string]string{
		"curl": "curl", "wget": "Wget", "python-requests": "python-requests", "python-urllib": "python-urllib", "python-httpx": "python-httpx", "aiohttp": "aiohttp",
		"go-http-client": "Go-http-client", "okhttp": "okhttp", "apache-httpclient": "Apache-HttpClient", "libwww-perl": "libwww-perl", "lwp": "libwww-perl",
		"axios": "axios", "node-fetch": "node-fetch", "undici": "undici", "got": "got", "scrapy": "Scrapy", "httpie": "HTTPie", "postmanruntime": "Postman",
		"insomnia": "Insomnia", "apifox": "Apifox", "guzzlehttp": "Guzzle", "winhttp": "WinHttp", "winhttprequest": "WinHttp", "windowspowershell": "PowerShell", "powershell": "PowerShell",
		"certutil": "CertUtil", "bits": "BITS", "microsoft-cryptoapi": "Microsoft-CryptoAPI", "microsoft-wns": "Microsoft-WNS", "headlesschrome": "HeadlessChrome",
		"phantomjs": "PhantomJS", "selenium": "Selenium", "puppeteer": "Puppeteer", "playwright": "Playwright", "restsharp": "RestSharp", "dalvik": "Dalvik", "cfnetwork": "CFNetwork",
		"fasthttp": "fasthttp", "reqwest": "reqwest", "mechanize": "Mechanize", "aria2": "aria2", "git": "git", "apt-http": "APT", "yum": "yum", "dnf": "dnf", "libdnf": "dnf",
		"docker": "Docker", "containerd": "containerd", "kube-probe": "kube-probe", "prometheus": "Prometheus", "zabbix": "Zabbix", "nagios": "Nagios", "check_http": "check_http",
		"nutch": "Nutch", "wordpress": "WordPress", "feign": "Feign", "hutool": "Hutool",
	})
	add(Program, 55, map[string]string{"java": "Java", "python": "Python", "perl": "Perl", "php": "PHP"})
	add("", 50, map[string]string{
		"micromessenger": "WeChat", "wxwork": "WeCom", "dingtalk": "DingTalk", "alipayclient": "Alipay", "qq": "QQ", "lark": "Feishu", "feishu": "Feishu", "weibo": "Weibo", "baiduboxapp": "Baidu App",
		"xuexi": "Xuexi", "chaoxing": "Chaoxing", "supportwx": "Chaoxing", "aweme": "Douyin",
	})
	add("", 30, map[string]string{
		"edg": "Edge", "edge": "Edge", "edga": "Edge", "edgios": "Edge", "opr": "Opera", "opera": "Opera", "mqqbrowser": "QQ Browser", "qqbrowser": "QQ Browser", "ucbrowser": "UC Browser", "ubrowser": "UC Browser",
		"360se": "360 Browser", "360ee": "360 Browser", "qhbrowser": "360 Browser", "metasr": "Sogou Browser", "miuibrowser": "MIUI Browser", "huaweibrowser": "Huawei Browser",
		"heytapbrowser": "HeyTap Browser", "vivobrowser": "Vivo Browser", "samsungbrowser": "Samsung Browser", "quark": "Quark", "yabrowser": "Yandex Browser", "vivaldi": "Vivaldi",
		"lbbrowser": "Liebao", "maxthon": "Maxthon", "crios": "Chrome", "fxios": "Firefox",
	})
	add("", 20, map[string]string{"chrome": "Chrome", "arkweb": "ArkWeb", "chromium": "Chromium", "firefox": "Firefox", "msie": "IE", "trident": "IE"})
	add("", 10, map[string]string{"safari": "Safari"})
	products["cubot"] = product{} // a maker of telephones
}
