package balance

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// unit is how many micro-units make one unit of a currency.
const unit = 1_000_000

// Errors of ParseMicros.
var (
	ErrNoAmount = errors.New("is not a decimal amount such as 0.0125")
	ErrDecimals = errors.New("has more than six decimals")
	ErrAmount   = errors.New("is larger than 10000000000")
)

// ParseMicros reads a decimal amount, such as 12, 12.5 or -0.0075, as micro-units: exactly, or not at all. The decimal
// sign is a point; a seventh decimal must be a zero. Signs of currencies, thousands, spaces and exponents are errors.
func ParseMicros(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, decimals, point := strings.Cut(digits, ".")
	if len(s) > 64 || !isDigits(whole) || point && !isDigits(decimals) {
		return 0, ErrNoAmount
	}
	if len(decimals) > 6 {
		if strings.Trim(decimals[6:], "0") != "" {
			return 0, ErrDecimals
		}
		decimals = decimals[:6]
	}
	if whole = strings.TrimLeft(whole, "0"); len(whole) > 11 {
		return 0, ErrAmount
	}
	v, err := strconv.ParseInt("0"+whole+decimals+strings.Repeat("0", 6-len(decimals)), 10, 64)
	if err != nil || v > MaxMicros {
		return 0, ErrAmount
	}
	if negative {
		v = -v
	}
	return v, nil
}

// FormatMicros writes micro-units as a decimal amount with two to six decimals. ParseMicros reads it back.
func FormatMicros(v int64) string {
	sign, abs := "", uint64(v)
	if v < 0 {
		sign, abs = "-", -abs
	}
	decimals := strings.TrimRight(fmt.Sprintf("%06d", abs%unit), "0")
	for len(decimals) < 2 {
		decimals += "0"
	}
	return fmt.Sprintf("%s%d.%s", sign, abs/unit, decimals)
}

// isDigits tells whether s is one ASCII digit or more.
func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
