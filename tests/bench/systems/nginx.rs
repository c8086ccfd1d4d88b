//! The reference: nginx, two workers, no log, kept-alive connections on both sides, nothing but `proxy_pass`.

use std::net::SocketAddr;
use std::path::Path;

use tokio::process::Command;

use super::{Running, Target, free_address};
use crate::Result;

/// Debian keeps it out of the path of ordinary users.
const PLACES: [&str; 3] = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/bin/nginx"];

/// Starts it with all its files in `dir`.
pub(super) async fn start(dir: &Path, receiver: SocketAddr) -> Result<Running> {
    let program = PLACES.into_iter().find(|place| Path::new(place).is_file());
    let program =
        program.ok_or("nginx is the reference and is not installed; run `apt-get install nginx-core`")?;
    let address = free_address()?;
    let file = dir.join("nginx.conf");
    std::fs::write(&file, configuration(dir, address, receiver))?;
    let mut command = Command::new(program);
    command.arg("-p").arg(dir).arg("-c").arg(&file).args(["-g", "daemon off;"]);
    let target = Target { address, path: "/to/0".to_owned(), token: None, signed: false, process: None };
    Running::start(command, &dir.join("output.log"), target, (address, "/to/0")).await
}

fn configuration(dir: &Path, address: SocketAddr, receiver: SocketAddr) -> String {
    let dir = dir.display();
    format!(
        "worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    client_body_buffer_size 128k;
    client_max_body_size 16m;
    keepalive_requests 1000000000;
    upstream receiver {{
        server {receiver};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address};
        location / {{
            proxy_pass http://receiver;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
        }}
    }}
}}
"
    )
}
