# Filled in by `packaging/build homebrew` at a release: with the version, and the address and checksum of each archive.
class Countersign < Formula
  desc "Authenticator app for AI agents: seeds stay sealed, agents get codes"
  homepage "REPOSITORY"
  version "VERSION"
  license any_of: ["MIT", "Apache-2.0"]

  on_macos do
    on_arm do
      url "URL-aarch64-apple-darwin"
      sha256 "SHA256-aarch64-apple-darwin"
    end
    on_intel do
      url "URL-x86_64-apple-darwin"
      sha256 "SHA256-x86_64-apple-darwin"
    end
  end

  on_linux do
    on_arm do
      url "URL-aarch64-unknown-linux-gnu"
      sha256 "SHA256-aarch64-unknown-linux-gnu"
    end
    on_intel do
      url "URL-x86_64-unknown-linux-gnu"
      sha256 "SHA256-x86_64-unknown-linux-gnu"
    end
  end

  def install
    bin.install "countersign"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/countersign.bash" => "countersign"
    zsh_completion.install "completions/_countersign"
    fish_completion.install "completions/countersign.fish"
  end

  service do
    run [opt_bin/"countersign", "serve"]
    keep_alive crashed: true
    log_path var/"log/countersign.log"
    error_log_path var/"log/countersign.log"
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/countersign --version")
  end
end
