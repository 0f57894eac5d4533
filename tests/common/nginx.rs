//! A real nginx in one process, which a test can kill with SIGKILL.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::{eventually, ports, process::Process};

/// The web server.
pub struct Nginx {
    /// Its port on 127.0.0.1.
    pub port: u16,
    dir: PathBuf,
    process: Option<Process>,
}

impl Nginx {
    /// Starts it in a folder of its own under `dir` and waits until it accepts connections.
    pub async fn start(dir: &Path, name: &str) -> Self {
        let dir = dir.join(name);
        fs::create_dir(&dir).expect("nginx's folder");
        let port = ports::free();
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", dir.display()))
            .join("\n  ");
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid {dir}/pid;\nerror_log {dir}/error.log;\n\
             events {{}}\nhttp {{\n  access_log off;\n  {paths}\n  server {{\n    \
             listen 127.0.0.1:{port};\n    location / {{ return 200 \"welcome\\n\"; }}\n  }}\n}}\n",
            dir = dir.display()
        );
        fs::write(dir.join("nginx.conf"), configuration).expect("nginx's configuration");
        let mut nginx = Self { port, dir, process: None };
        nginx.restart().await;
        nginx
    }

    /// Starts it again and waits until it accepts connections.
    pub async fn restart(&mut self) {
        let mut command = Command::new("/usr/sbin/nginx");
        command.arg("-p").arg(&self.dir).arg("-c").arg(self.dir.join("nginx.conf"));
        command.arg("-e").arg(self.dir.join("error.log"));
        self.process = Some(Process::spawn("nginx", command, &self.dir.join("log")));
        eventually("nginx", Duration::from_secs(10), async || {
            TcpStream::connect(("127.0.0.1", self.port)).map(drop).map_err(|e| e.to_string())
        })
        .await;
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().expect("nginx runs").kill();
    }
}
