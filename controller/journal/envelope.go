package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// kind says what a message of a log is.
type kind uint8

const (
	kindRecord   kind = 1 // what the caller appended
	kindSnapshot kind = 2 // a part of a snapshot
	kindTakeover kind = 3 // a new owner began
	kindChange   kind = 4 // a change of the configuration
)

func (k kind) String() string {
	switch k {
	case kindRecord:
		return "record"
	case kindSnapshot:
		return "snapshot"
	case kindTakeover:
		return "takeover"
	case kindChange:
		return "change"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

const (
	envelopeVersion = 1
	envelopeBytes   = 44
	flagFirst       = 1 // of a snapshot's parts
	flagLast        = 2
)

// envelope stands before the data of every message. In bytes: "SJ", version, kind, flags, three of zero, then
// epoch, prev, nonce and generation in eight each, and a CRC-32C over all of that and the data.
type envelope struct {
	kind        kind
	first, last bool   // of a snapshot's parts; first of a takeover: loss before it was accepted
	epoch       uint64 // of the owner that wrote it; 0 in the change log
	prev        uint64 // sequence of the message before it in the same log; 0 = there was none
	nonce       uint64 // with the epoch names the message, to know one's own again
	generation  uint64 // of a snapshot: the same in all its parts
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes the message: envelope and data.
func (e envelope) seal(data []byte) []byte {
	b := make([]byte, envelopeBytes, envelopeBytes+len(data))
	copy(b, "SJ")
	b[2], b[3] = envelopeVersion, byte(e.kind)
	if e.first {
		b[4] |= flagFirst
	}
	if e.last {
		b[4] |= flagLast
	}
	for i, v := range []uint64{e.epoch, e.prev, e.nonce, e.generation} {
		binary.BigEndian.PutUint64(b[8+8*i:], v)
	}
	binary.BigEndian.PutUint32(b[40:], checksum(b[:40], data))
	return append(b, data...)
}

func checksum(head, data []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, data)
}

// unseal reads a message; data aliases it.
func unseal(msg []byte) (e envelope, data []byte, err error) {
	if len(msg) < envelopeBytes || string(msg[:2]) != "SJ" {
		return e, nil, errors.New("is no message of a journal")
	}
	data = msg[envelopeBytes:]
	if binary.BigEndian.Uint32(msg[40:]) != checksum(msg[:40], data) {
		return e, nil, errors.New("checksum does not match")
	}
	if msg[2] != envelopeVersion {
		return e, nil, fmt.Errorf("has format version %d, this binary reads %d: use the newer binary", msg[2], envelopeVersion)
	}
	e.kind, e.first, e.last = kind(msg[3]), msg[4]&flagFirst != 0, msg[4]&flagLast != 0
	for i, v := range []*uint64{&e.epoch, &e.prev, &e.nonce, &e.generation} {
		*v = binary.BigEndian.Uint64(msg[8+8*i:])
	}
	return e, data, nil
}
