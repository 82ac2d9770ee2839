package phone

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/pion/srtp/v3"
)

// suite is the only way of the phones to encrypt: that which every SRTP endpoint knows (RFC 4568 section 6.2.1).
const suite = "AES_CM_128_HMAC_SHA1_80"

const (
	keyBytes  = 16
	saltBytes = 14
)

// sdes are the keys of one call's RTP, told in the SDP (RFC 4568).
type sdes struct {
	own     []byte // key and salt that this phone encrypts with
	tag     string // of the other side's crypto line that was taken
	out, in *srtp.Context
}

func newSDES() (*sdes, error) {
	s := &sdes{own: make([]byte, keyBytes+saltBytes), tag: "1"}
	if _, err := rand.Read(s.own); err != nil {
		return nil, err
	}
	var err error
	s.out, err = contextOf(s.own)
	return s, err
}

func contextOf(key []byte) (*srtp.Context, error) {
	return srtp.CreateContext(key[:keyBytes], key[keyBytes:], srtp.ProtectionProfileAes128CmHmacSha1_80)
}

// protect makes a plain SDP one with keys.
func (s *sdes) protect(plain []byte) []byte {
	text := strings.Replace(string(plain), " RTP/AVP ", " RTP/SAVP ", 1)
	return []byte(text + "a=crypto:" + s.tag + " " + suite + " inline:" + base64.StdEncoding.EncodeToString(s.own) + "\r\n")
}

// take learns the other side's key. An SDP without one is refused: nothing is sent in the clear.
func (s *sdes) take(d *description) error {
	if d.profile != "RTP/SAVP" {
		return fmt.Errorf("the other side speaks %s, not RTP/SAVP", d.profile)
	}
	for _, line := range d.crypto {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[1] != suite {
			continue
		}
		inline, _, _ := strings.Cut(strings.TrimPrefix(fields[2], "inline:"), "|")
		key, err := base64.StdEncoding.DecodeString(inline)
		if err != nil || len(key) != keyBytes+saltBytes {
			return fmt.Errorf("crypto line %q has no key of %d bytes", line, keyBytes+saltBytes)
		}
		if s.in, err = contextOf(key); err != nil {
			return err
		}
		s.tag = fields[0]
		return nil
	}
	return fmt.Errorf("no crypto line with %s in %q", suite, d.crypto)
}
