package main

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const service = "kinesisvideo"

// signer makes Signature Version 4 of requests, with the credentials and the region of the environment.
type signer struct {
	key, secret, token, region string
}

func newSigner() signer {
	return signer{
		key:    os.Getenv("AWS_ACCESS_KEY_ID"),
		secret: os.Getenv("AWS_SECRET_ACCESS_KEY"),
		token:  os.Getenv("AWS_SESSION_TOKEN"),
		region: os.Getenv("AWS_REGION"),
	}
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	hash := hmac.New(sha256.New, key)
	hash.Write([]byte(text))
	return hash.Sum(nil)
}

// encode is url.Values.Encode with spaces as RFC 3986 has them. The order is that of the names.
func encode(query url.Values) string {
	return strings.ReplaceAll(query.Encode(), "+", "%20")
}

func (s signer) scope(now time.Time) string {
	return strings.Join([]string{now.Format("20060102"), s.region, service, "aws4_request"}, "/")
}

func (s signer) signature(now time.Time, canonical string) string {
	key := []byte("AWS4" + s.secret)
	for _, part := range strings.Split(s.scope(now), "/") {
		key = mac(key, part)
	}
	text := []string{"AWS4-HMAC-SHA256", now.Format("20060102T150405Z"), s.scope(now), digest([]byte(canonical))}
	return hex.EncodeToString(mac(key, strings.Join(text, "\n")))
}

// sign adds the Authorization header to a POST with this body.
func (s signer) sign(request *http.Request, body []byte) {
	now := time.Now().UTC()
	date := now.Format("20060102T150405Z")
	names, headers := "host;x-amz-date", "host:"+request.URL.Host+"\nx-amz-date:"+date+"\n"
	request.Header.Set("X-Amz-Date", date)
	if s.token != "" {
		request.Header.Set("X-Amz-Security-Token", s.token)
		names, headers = names+";x-amz-security-token", headers+"x-amz-security-token:"+s.token+"\n"
	}
	canonical := strings.Join([]string{request.Method, request.URL.Path, "", headers, names, digest(body)}, "\n")
	request.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s",
		s.key, s.scope(now), names, s.signature(now, canonical)))
}

// presign is the address with which a WebSocket is opened.
func (s signer) presign(endpoint string, query url.Values) (string, error) {
	address, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	address.Path = "/"
	now := time.Now().UTC()
	query.Set("X-Amz-Algorithm", "AWS4-HMAC-SHA256")
	query.Set("X-Amz-Credential", s.key+"/"+s.scope(now))
	query.Set("X-Amz-Date", now.Format("20060102T150405Z"))
	query.Set("X-Amz-Expires", "299")
	query.Set("X-Amz-SignedHeaders", "host")
	if s.token != "" {
		query.Set("X-Amz-Security-Token", s.token)
	}
	canonical := strings.Join([]string{"GET", "/", encode(query), "host:" + address.Host + "\n", "host", digest(nil)}, "\n")
	query.Set("X-Amz-Signature", s.signature(now, canonical))
	address.RawQuery = encode(query)
	return address.String(), nil
}
