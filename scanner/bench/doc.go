// Package bench measures the scanner beside others: sweeps of ports beside nmap
// and masscan (sweep.sh), names beside dnsperf (dns.sh). It sends nothing outside
// the network namespaces that it makes, and runs only when asked to.
package bench
