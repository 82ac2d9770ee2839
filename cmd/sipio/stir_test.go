package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stirFiles writes what a provider has into a folder: key.pem, chain.pem with a certificate of provider 709J, roots.pem.
func stirFiles(t *testing.T, dir string) {
	t.Helper()
	var keys [2]*ecdsa.PrivateKey
	for i := range keys {
		var err error
		if keys[i], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			t.Fatal(err)
		}
	}
	from, until := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2046, 1, 1, 0, 0, 0, 0, time.UTC)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Test root"}, NotBefore: from, NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "SHAKEN 709J"}, NotBefore: from, NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 26}, Value: []byte{0x30, 8, 0xA0, 6, 0x16, 4, '7', '0', '9', 'J'}}},
	}
	rootDER, err1 := x509.CreateCertificate(rand.Reader, root, root, &keys[0].PublicKey, keys[0])
	leafDER, err2 := x509.CreateCertificate(rand.Reader, leaf, root, &keys[1].PublicKey, keys[0])
	keyDER, err3 := x509.MarshalPKCS8PrivateKey(keys[1])
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, block := range map[string]*pem.Block{"roots.pem": {Type: "CERTIFICATE", Bytes: rootDER}, "chain.pem": {Type: "CERTIFICATE", Bytes: leafDER}, "key.pem": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const stirCall = " --from +493012345678 --to +4989555111"

func TestStir_VerifiesWhatItSigned(t *testing.T) {
	// Proves the way from a key to a verdict through both commands, with the times and ids that nobody gave; that a key which others
	// may read is warned of, and one that is kept is not.
	dir := t.TempDir()
	stirFiles(t, dir)
	sign := "sipio stir sign --key " + dir + "/key.pem --x5u https://cr.example.org/sp.pem --attest B" + stirCall
	_, value, _ := strings.Cut(transcript(sign), "\n")
	if strings.Contains(value, "!") || strings.Count(value, "\n") != 1 {
		t.Fatalf("signed: %s", value)
	}
	header := filepath.Join(dir, "header")
	if err := os.WriteFile(header, []byte("Identity: "+strings.Replace(value, ";ppt", "\r\n ;ppt", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	verify := "sipio stir verify --cert " + dir + "/chain.pem --roots " + dir + "/roots.pem" + stirCall + " " + header
	if got := transcript(verify); !strings.Contains(got, "TN-Validation-Passed") || !strings.Contains(got, "709J") || strings.Contains(got, "exit status") {
		t.Errorf("verified:\n%s", got)
	}
	if got := transcript(strings.Replace(verify, "555111", "555112", 1)); !strings.Contains(got, "dest_mismatch") || !strings.Contains(got, "exit status 1") {
		t.Errorf("another call:\n%s", got)
	}
	if again := transcript(sign); strings.Contains(again, value) {
		t.Error("two calls have one origid")
	}
	if err := os.Chmod(dir+"/key.pem", 0o604); err != nil {
		t.Fatal(err)
	}
	if got := transcript(sign); !strings.Contains(got, "is open to every user") {
		t.Errorf("open key:\n%s", got)
	}
}

func TestStir_FilesOfTheTranscript(t *testing.T) {
	// Proves that the files which stir.golden is about are there; with -update they are made when they are not. Their key is kept
	// nowhere.
	const dir = "testdata/stir"
	if _, err := os.Stat(dir); err == nil || !*update {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	made := t.TempDir()
	stirFiles(t, made)
	_, value, _ := strings.Cut(transcript("sipio stir sign --key "+made+"/key.pem --x5u https://cr.example.org/709J.pem --attest A --iat 1772366400 --origid 123e4567-e89b-12d3-a456-426655440000"+stirCall), "\n")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"chain.pem", "roots.pem"} {
		raw, err := os.ReadFile(filepath.Join(made, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), raw, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(dir+"/identity.txt", []byte(value), 0o644); err != nil {
		t.Fatal(err)
	}
}
