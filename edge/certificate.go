package edge

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"math/big"
	"time"
)

// Certificate is what a device needs to know of a certificate in force, to trust it and nothing else.
type Certificate struct {
	Names      []string // host names and addresses it is for
	SHA256     []byte   // of the certificate, as openssl x509 -fingerprint prints it
	SHA1       []byte   // the same, for firmware that knows no better (ESP8266)
	Tasmota    []byte   // of the public key, as Tasmota compares it; nil: its key is not RSA, of which Tasmota takes no fingerprint
	SelfSigned bool     // nobody vouches for it: clients need a fingerprint or the certificate itself
	NotAfter   time.Time
}

// Certificates returns those in force: one from files, or one of each ACME domain that has been issued.
func (t *TLS) Certificates() []Certificate {
	var all []Certificate
	for _, pair := range t.source.pairs() {
		all = append(all, certificateOf(pair.Leaf))
	}
	return all
}

func certificateOf(leaf *x509.Certificate) Certificate {
	one, two := sha1.Sum(leaf.Raw), sha256.Sum256(leaf.Raw)
	c := Certificate{
		SHA1:       one[:],
		SHA256:     two[:],
		Tasmota:    tasmotaFingerprint(leaf),
		SelfSigned: bytes.Equal(leaf.RawIssuer, leaf.RawSubject) && leaf.CheckSignature(leaf.SignatureAlgorithm, leaf.RawTBSCertificate, leaf.Signature) == nil,
		NotAfter:   leaf.NotAfter,
		Names:      leaf.DNSNames,
	}
	for _, address := range leaf.IPAddresses {
		c.Names = append(c.Names, address.String())
	}
	return c
}

// tasmotaFingerprint is Tasmota's own, of version 2: SHA-1 of the word ssh-rsa, the exponent and the modulus, each with its length in front.
// Of keys that are not RSA it leaves the fingerprint unset (WiFiClientSecureLightBearSSL.cpp pubkeyfingerprint_pubkey_fingerprint).
func tasmotaFingerprint(leaf *x509.Certificate) []byte {
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	sum := sha1.New()
	for _, part := range [][]byte{[]byte("ssh-rsa"), big.NewInt(int64(key.E)).Bytes(), key.N.Bytes()} {
		sum.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part))))
		sum.Write(part)
	}
	return sum.Sum(nil)
}
