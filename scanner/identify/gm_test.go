package identify

import (
	"crypto/x509/pkix"
	"math/big"
	"time"

	gmx509 "github.com/tjfoc/gmsm/x509"
)

func gmTemplate(name string) *gmx509.Certificate {
	return &gmx509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		SignatureAlgorithm: gmx509.SM2WithSM3, DNSNames: []string{name},
	}
}
