// HTTP by Go's net/http on one core. Built by `go build`, if Go is installed.
package main

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
)

func main() {
	port := flag.Int("port", 0, "port on 127.0.0.1, 0 for any free one")
	flag.Parse()
	runtime.GOMAXPROCS(1)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	http.HandleFunc("/plaintext", func(to http.ResponseWriter, _ *http.Request) {
		to.Header().Set("Server", "go")
		to.Header().Set("Content-Type", "text/plain")
		to.Write([]byte("Hello, World!"))
	})
	fmt.Printf("ready: tcp %s\n", listener.Addr())
	http.Serve(listener, nil)
}
