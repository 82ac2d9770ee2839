// Package tone makes and recognises the audio the test phones use: pure tones, G.711 in both laws, and a
// detector that tells by ear, not by "200 OK", whether a call has audio.
package tone

// Rate is the sampling rate of G.711 in samples a second.
const Rate = 8000

// Law is one of the two G.711 companding laws. Its value is the static RTP payload type of RFC 3551.
type Law uint8

const (
	// PCMU is G.711 µ-law, payload type 0.
	PCMU Law = 0
	// PCMA is G.711 A-law, payload type 8.
	PCMA Law = 8
)

// String is the encoding name as it stands in an SDP rtpmap.
func (l Law) String() string {
	if l == PCMA {
		return "PCMA"
	}
	return "PCMU"
}

// Encode compands 16-bit samples to one byte each.
func (l Law) Encode(samples []int16) []byte {
	out := make([]byte, len(samples))
	for i, s := range samples {
		if l == PCMA {
			out[i] = encodeA(s)
		} else {
			out[i] = encodeMu(s)
		}
	}
	return out
}

// Decode expands companded bytes to 16-bit samples.
func (l Law) Decode(payload []byte) []int16 {
	out := make([]int16, len(payload))
	for i, b := range payload {
		if l == PCMA {
			out[i] = decodeA(b)
		} else {
			out[i] = decodeMu(b)
		}
	}
	return out
}

const (
	muBias = 0x84
	muClip = 32635
)

func encodeMu(s int16) byte {
	v, sign := int(s), 0
	if v < 0 {
		v, sign = -v, 0x80
	}
	v = min(v, muClip) + muBias
	exponent := 7
	for mask := 0x4000; v&mask == 0 && exponent > 0; mask >>= 1 {
		exponent--
	}
	mantissa := v >> (exponent + 3) & 0x0f
	return ^byte(sign | exponent<<4 | mantissa)
}

func decodeMu(b byte) int16 {
	b = ^b
	v := (int(b&0x0f)<<3+muBias)<<(b>>4&7) - muBias
	if b&0x80 != 0 {
		v = -v
	}
	return int16(v)
}

func encodeA(s int16) byte {
	v, toggle := int(s)>>3, byte(0xd5)
	if v < 0 {
		v, toggle = -v-1, 0x55
	}
	segment := 0
	for v > 0x1f<<segment|(1<<segment-1) && segment < 7 {
		segment++
	}
	mantissa := v >> max(segment, 1) & 0x0f
	return byte(segment<<4|mantissa) ^ toggle
}

func decodeA(b byte) int16 {
	b ^= 0x55
	v := int(b&0x0f)<<4 + 8
	if segment := b >> 4 & 7; segment > 0 {
		v = (v + 0x100) << (segment - 1)
	}
	if b&0x80 == 0 {
		v = -v
	}
	return int16(v)
}
